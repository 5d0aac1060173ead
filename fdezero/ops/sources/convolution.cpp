// Direct convolution, channels last: tiles of pixels x channels whose sums stay in registers. The images are read where they lie, or
// from a padded copy of a few rows that stays in the cache. Every sum has one order. Threads share whole blocks, because compilers may
// round a product before they add it in tiles of one size, and not in tiles of another.

typedef long long L;

enum { PANEL = 64 };  // bytes of the channels that a tile computes
#if defined(__AVX512F__)
enum { BYTES = 64, PIXELS = 8, TAPS = 12 };  // of a vector; and how many pixels, or entries of a kernel, a tile has
#elif defined(__AVX__)
enum { BYTES = 32, PIXELS = 6, TAPS = 6 };
#else
enum { BYTES = 16, PIXELS = 6, TAPS = 6 };
#endif
enum { NARROW = BYTES < 32 ? BYTES : 32 };  // bytes of the vectors for half a panel

template <class T, int B> struct Vector { typedef T type __attribute__((vector_size(B))); };

// One convolution: sizes, and steps in entries. A group has `channels` channels of x and `filters` channels of y.
struct Job {
    L stacks, groups, examples, channels, filters;
    L size[3], window[3], out[3], stride[3], before[3], dilation[3];
    L x_at, x_stack, x_example, x_space[3], x_channel;
    L w_at, w_stack, w_group, w_filter, w_space[3], w_channel;
    L y_at, y_stack, y_example, y_space[3], y_channel;
    L packed_at;  // where its kernels lie among those that are packed
    L block[3];   // examples, planes and rows of the result that a block has
    L chunk;      // how many products a tile adds before the next tile takes its turn
    L parts;      // of the panels of channels, which threads share if there are few blocks
    L in_place;   // whether no window leaves the images
    L gap;        // entries between the pixels of a copy, so that they do not all fall into one set of the cache
    L segments;   // the most that the pixels of a block can have
    L by_edge;    // whether pixels whose windows leave the images are computed apart, without the products with zeros
};

enum { EDGES = 64 };  // the longest axis of results that are computed by their edges
struct Segment { L offset, length, entry; };  // neighbouring entries of x that a pixel reads, and their place in a packed kernel
// Pixels of a block that read the same segments. Parts of the segments take their turns: `from` to `next`.
struct Class { L first, count, low[3], high[3], segments, from, next; Segment *segment; };

static INLINE L parts_of(L n, L size) { return (n + size - 1) / size; }
static INLINE L least(L a, L b) { return a < b ? a : b; }
template <class T> static INLINE T *aligned(T *p) { return (T *)(((unsigned long long)p + 63) / 64 * 64); }
template <class T> static INLINE L panel() { return PANEL / sizeof(T); }
template <class T> static INLINE L width_of(L channels) { return channels <= panel<T>() / 2 ? panel<T>() / 2 : panel<T>(); }
static INLINE L depth_of(const Job &j) { return j.window[0] * j.window[1] * j.window[2] * j.channels; }
template <class T> static INLINE L packed_size(const Job &j) { return parts_of(j.filters, panel<T>()) * panel<T>() * depth_of(j); }

struct Range { L low, high; };
// The taps along an axis that pixel `o` of the result sees inside the images.
static INLINE Range taps_inside(const Job &j, int axis, L o) {
    const L first = o * j.stride[axis] - j.before[axis], step = j.dilation[axis];
    const L low = first < 0 ? parts_of(-first, step) : 0, high = first < j.size[axis] ? parts_of(j.size[axis] - first, step) : 0;
    return {least(low, j.window[axis]), least(high, j.window[axis])};
}

// A block of a convolution: where its pixels read and write, and the images, which may be a padded copy.
template <class T> struct Block {
    const T *x;
    L step[4];  // of x: examples, planes, rows, pixels
    L count, classes;
    L *reads, *writes;
    Class *of_class;
};

// Copy rows `first` to `first` + `rows` of each axis, with zeros around the images.
template <class T> static void copy_padded(const Job &j, const T *x, L examples, const L *first, const L *rows, const L *step, T *out) {
    const L C = j.channels, length = rows[2] * step[3];
    const L left = least(first[2] < 0 ? -first[2] : 0, rows[2]);
    const L right = first[2] + rows[2] > j.size[2] ? j.size[2] - first[2] : rows[2];
    for (L n = 0; n < examples; n++)
        for (L d = 0; d < rows[0]; d++)
            for (L h = 0; h < rows[1]; h++) {
                const L plane = first[0] + d, row = first[1] + h;
                T *to = out + n * step[0] + d * step[1] + h * step[2];
                if (plane < 0 || plane >= j.size[0] || row < 0 || row >= j.size[1] || right <= left) {
                    __builtin_memset(to, 0, sizeof(T) * length);
                    continue;
                }
                const T *from = x + n * j.x_example + plane * j.x_space[0] + row * j.x_space[1] + (first[2] + left) * j.x_space[2];
                __builtin_memset(to, 0, sizeof(T) * left * step[3]);
                __builtin_memset(to + right * step[3], 0, sizeof(T) * (rows[2] - right) * step[3]);
                to += left * step[3];
                const L count = right - left;
                if (j.x_channel == 1 && j.x_space[2] == C && step[3] == C) __builtin_memcpy(to, from, sizeof(T) * count * C);
                else if (j.x_channel == 1)
                    for (L w = 0; w < count; w++) __builtin_memcpy(to + w * step[3], from + w * j.x_space[2], sizeof(T) * C);
                else
                    for (L c = 0; c < C; c++)
                        for (L w = 0; w < count; w++) to[w * step[3] + c] = from[w * j.x_space[2] + c * j.x_channel];
            }
}

// Block number `number` of the images at x: examples, then planes, then rows.
template <class T> static Block<T> block_of(const Job &j, const T *x, L number, T *scratch, L *at) {
    const L cuts[2] = {parts_of(j.out[0], j.block[1]), parts_of(j.out[1], j.block[2])};
    const L n = number / (cuts[0] * cuts[1]) * j.block[0], d = number / cuts[1] % cuts[0] * j.block[1], h = number % cuts[1] * j.block[2];
    const L examples = least(j.block[0], j.examples - n), shape[3] = {least(j.block[1], j.out[0] - d), least(j.block[2], j.out[1] - h), j.out[2]};
    Block<T> b;
    b.count = examples * shape[0] * shape[1] * shape[2];
    b.reads = (L *)scratch;
    b.writes = b.reads + b.count;
    b.of_class = (Class *)(b.writes + b.count);
    const L start[3] = {d, h, 0};
    L first[3], rows[3], edges[3][EDGES + 1], groups[3];  // neighbouring rows, or pixels, whose windows leave the images alike
    for (int i = 0; i < 3; i++) {
        first[i] = start[i] * j.stride[i] - j.before[i];
        rows[i] = (shape[i] - 1) * j.stride[i] + (j.window[i] - 1) * j.dilation[i] + 1;
        edges[i][0] = groups[i] = 0;
        for (L o = 1; j.by_edge && o < shape[i]; o++)
            if (taps_inside(j, i, start[i] + o).low != taps_inside(j, i, start[i] + o - 1).low ||
                taps_inside(j, i, start[i] + o).high != taps_inside(j, i, start[i] + o - 1).high) edges[i][++groups[i]] = o;
        edges[i][++groups[i]] = shape[i];
    }
    b.classes = groups[0] * groups[1] * groups[2];
    if (j.in_place) {
        b.step[0] = j.x_example;
        for (int i = 0; i < 3; i++) b.step[1 + i] = j.x_space[i];
        b.x = x + n * j.x_example + first[0] * j.x_space[0] + first[1] * j.x_space[1] + first[2] * j.x_space[2];
    } else {
        b.step[3] = j.channels + j.gap;
        for (int i = 2; i >= 0; i--) b.step[i] = b.step[i + 1] * rows[i];
        T *copy = aligned((T *)(b.of_class + b.classes));
        copy_padded(j, x + n * j.x_example, examples, first, rows, b.step, copy);
        b.x = copy;
    }
    *at = n * j.y_example + d * j.y_space[0] + h * j.y_space[1];
    L pixel = 0;
    for (L number = 0; number < b.classes; number++) {
        const L group[3] = {number / groups[2] / groups[1], number / groups[2] % groups[1], number % groups[2]};
        Class &own = b.of_class[number];
        own.first = pixel;
        L from[3], to[3];
        for (int i = 0; i < 3; i++) {
            from[i] = edges[i][group[i]], to[i] = edges[i][group[i] + 1];
            const Range taps = j.by_edge ? taps_inside(j, i, start[i] + from[i]) : Range{0, j.window[i]};
            own.low[i] = taps.low, own.high[i] = taps.high;
        }
        for (L e = 0; e < examples; e++)
            for (L p = from[0]; p < to[0]; p++)
                for (L r = from[1]; r < to[1]; r++)
                    for (L c = from[2]; c < to[2]; c++, pixel++) {
                        b.reads[pixel] = e * b.step[0] + p * j.stride[0] * b.step[1] + r * j.stride[1] * b.step[2] + c * j.stride[2] * b.step[3];
                        b.writes[pixel] = e * j.y_example + p * j.y_space[0] + r * j.y_space[1] + c * j.y_space[2];
                    }
        own.count = pixel - own.first;
    }
    return b;
}

// The stretches of x that the pixels of a class read, in the order of packed kernels, cut at multiples of `chunk` entries.
static void find_segments(const Job &j, const L *step, L chunk, Class &own, Segment *out) {
    const bool joined = j.dilation[2] == 1 && step[3] == j.channels;
    L count = 0;
    for (L d = own.low[0]; d < own.high[0]; d++)
        for (L h = own.low[1]; h < own.high[1]; h++)
            for (L w = own.low[2]; w < own.high[2]; w += joined ? j.window[2] : 1) {
                const L length = (joined ? own.high[2] - w : 1) * j.channels, entry = ((d * j.window[1] + h) * j.window[2] + w) * j.channels;
                const L offset = d * j.dilation[0] * step[1] + h * j.dilation[1] * step[2] + w * j.dilation[2] * step[3];
                for (L t = 0, next; t < length; t = next) {
                    next = least(length, ((entry + t) / chunk + 1) * chunk - entry);
                    out[count++] = {offset + t, next - t, entry + t};
                }
            }
    own.segment = out;
    own.segments = count;
    own.from = own.next = 0;
}

// Q pixels x M vectors of channels. `w` has the channels of one entry of the kernel after the other.
template <class T, int B, int M, int Q>
static INLINE void tile(const T *x, const L *reads, const Segment *s, L segments, const T *w, T *y, const L *writes, L channels, bool adds) {
    typedef typename Vector<T, B>::type V;
    enum { LANES = B / sizeof(T) };
    V a[Q][M];
    UNROLL for (int q = 0; q < Q; q++) UNROLL for (int m = 0; m < M; m++) a[q][m] = V{};
    for (L i = 0; i < segments; i++) {
        const T *p[Q], *given = w + s[i].entry * M * LANES;
        UNROLL for (int q = 0; q < Q; q++) p[q] = x + reads[q] + s[i].offset;
        for (L t = 0; t < s[i].length; t++, given += M * LANES) {
            V b[M];
            UNROLL for (int m = 0; m < M; m++) b[m] = load<V>(given + m * LANES);
            UNROLL for (int q = 0; q < Q; q++) UNROLL for (int m = 0; m < M; m++) a[q][m] += p[q][t] * b[m];
        }
    }
    if (channels == M * LANES) {
        UNROLL for (int q = 0; q < Q; q++) UNROLL for (int m = 0; m < M; m++) {
            T *to = y + writes[q] + m * LANES;
            store<V>(to, adds ? load<V>(to) + a[q][m] : a[q][m]);
        }
        return;
    }
    UNROLL for (int q = 0; q < Q; q++) {
        T given[M * LANES];
        UNROLL for (int m = 0; m < M; m++) store<V>(given + m * LANES, a[q][m]);
        T *to = y + writes[q];
        for (L c = 0; c < channels; c++) to[c] = adds ? to[c] + given[c] : given[c];
    }
}

// Pixels `p` to `last`, in tiles of Q pixels, and of fewer for the rest.
template <class T, int B, int M, int Q>
static INLINE void tiles_from(L p, L last, const Block<T> &b, const Segment *s, L segments, const T *w, T *y, L channels, bool adds) {
    if constexpr (Q > 0) {
        for (; p + Q <= last; p += Q) tile<T, B, M, Q>(b.x, b.reads + p, s, segments, w, y, b.writes + p, channels, adds);
        tiles_from<T, B, M, Q / 2>(p, last, b, s, segments, w, y, channels, adds);
    }
}

template <class T, int B, int M> static void tiles(const Block<T> &b, const Class &own, const T *w, T *y, L channels) {
    const Segment *s = own.segment + own.from;
    tiles_from<T, B, M, PIXELS>(own.first, own.first + own.count, b, s, own.next - own.from, w, y, channels, own.from > 0);
}

// The panels `first` to `last` of a block. A part of the images and of a panel's kernels stays in the cache while all pixels pass over.
template <class T> static void convolve_block(const Block<T> &b, const T *w, T *y, L filters, L first, L last, L depth, L chunk) {
    for (L at = 0; at == 0 || at < depth; at += chunk) {
        for (L c = 0; c < b.classes; c++) {
            Class &own = b.of_class[c];
            own.from = own.next;
            while (own.next < own.segments && own.segment[own.next].entry < at + chunk) own.next++;
        }
        for (L k = first; k < last; k++)
            for (L c = 0; c < b.classes; c++) {
                const Class &own = b.of_class[c];
                if (own.from == own.next && (at || own.segments)) continue;  // pixels that see nothing are zeros, written once
                const L channels = least(panel<T>(), filters - k * panel<T>());
                const T *given = w + k * panel<T>() * depth;
                if (width_of<T>(channels) == panel<T>()) tiles<T, BYTES, PANEL / BYTES>(b, own, given, y + k * panel<T>(), channels);
                else tiles<T, NARROW, PANEL / 2 / NARROW>(b, own, given, y + k * panel<T>(), channels);
            }
    }
}

// `channels` entries of each of `count` filters, as a panel of `width` filters with zeros behind the last one.
template <class T> static void pack_panel(const T *from, L step, L filter_step, L channels, L count, L width, T *to) {
    L c = 0;
    if (count == panel<T>() && filter_step == 1)
        for (; c < channels; c++) __builtin_memcpy(to + c * width, from + c * step, PANEL);
    if (count == panel<T>() && step == 1)
        for (; c + 16 <= channels; c += 16)  // few enough to stay in the cache
            for (L q = 0; q < panel<T>(); q++) {
                const T *row = from + c + q * filter_step;
                T *column = to + c * panel<T>() + q;
                UNROLL for (int e = 0; e < 16; e++) column[e * panel<T>()] = row[e];
            }
    for (; c < channels; c++)
        for (L q = 0; q < width; q++) to[c * width + q] = q < count ? from[c * step + q * filter_step] : 0;
}

// Kernels as panels of filters.
template <class T> static void pack(const Job &j, const T *w, T *out) {
    for (L number = 0; number < j.stacks * j.groups; number++)
        for (L k = 0; k < j.filters; k += panel<T>()) {
            const L count = least(panel<T>(), j.filters - k), width = width_of<T>(count);
            const T *given = w + j.w_at + number / j.groups * j.w_stack + number % j.groups * j.w_group + k * j.w_filter;
            T *to = out + number * packed_size<T>(j) + k * depth_of(j);
            for (L d = 0; d < j.window[0]; d++)
                for (L h = 0; h < j.window[1]; h++)
                    for (L i = 0; i < j.window[2]; i++, to += j.channels * width)
                        pack_panel(given + d * j.w_space[0] + h * j.w_space[1] + i * j.w_space[2], j.w_channel, j.w_filter, j.channels, count, width, to);
        }
}

static INLINE L blocks_of(const Job &j) { return parts_of(j.examples, j.block[0]) * parts_of(j.out[0], j.block[1]) * parts_of(j.out[1], j.block[2]); }

// Items `start` to `stop` of a convolution: for each stack, group and block the parts of its panels.
template <class T> static void convolve(const Job &j, const T *x, const T *w, T *y, T *scratch, L start, L stop) {
    const L blocks = blocks_of(j), panels = parts_of(j.filters, panel<T>()), depth = depth_of(j);
    for (L item = start; item < stop; item++) {
        const L block = item / j.parts % blocks, part = item % j.parts, group = item / j.parts / blocks % j.groups, stack = item / j.parts / blocks / j.groups;
        L at;
        Segment *segments = (Segment *)scratch;
        const Block<T> b = block_of(j, x + j.x_at + stack * j.x_stack + group * j.channels * j.x_channel, block, (T *)(segments + j.segments), &at);
        for (L c = 0; c < b.classes; segments += b.of_class[c++].segments) find_segments(j, b.step, j.chunk, b.of_class[c], segments);
        convolve_block(b, w + j.packed_at + (stack * j.groups + group) * packed_size<T>(j), y + j.y_at + stack * j.y_stack + group * j.filters + at,
                       j.filters, panels * part / j.parts, panels * (part + 1) / j.parts, depth, j.chunk);
    }
}

#define FOR(T)                                                                                                           \
    extern "C" void pack_##T(const Job *jobs, L count, void *w, void *scratch) {                                         \
        for (L i = 0; i < count; i++) pack(jobs[i], DATA(T, w), aligned(DATA(T, scratch)) + jobs[i].packed_at);          \
    }                                                                                                                    \
    extern "C" void convolve_##T(const Job *jobs, L count, void *x, void *y, void *scratch, L own, L start, L stop) {    \
        T *memory = aligned(DATA(T, scratch));                                                                           \
        for (L i = 0; i < count; i++) {                                                                                  \
            const L items = jobs[i].stacks * jobs[i].groups * blocks_of(jobs[i]) * jobs[i].parts;                        \
            const L first = start > 0 ? start : 0, last = least(stop, items);                                            \
            if (first < last) convolve(jobs[i], DATA(T, x), memory, DATA(T, y), memory + own, first, last);              \
            start -= items;                                                                                              \
            stop -= items;                                                                                               \
        }                                                                                                                \
    }
// Whether the processor has vectors that are worth it. Without them NumPy's products are faster.
extern "C" L is_quick() {
#if defined(__AVX__) || defined(__ARM_NEON)
    return 1;
#else
    return 0;
#endif
}
