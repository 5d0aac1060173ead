// The gradient of a convolution's kernel, after convolution.cpp: tiles of entries of the kernel x filters, whose sums over the pixels of a
// block stay in registers. Threads share the entries, so every sum has one order.

// Sums over pixels: Q entries of the kernel x M vectors of filters. `g` has panels of filters, pixel after pixel. If the entries do not lie
// side by side (SCATTERED), `offsets` says where they lie, and `places` where each pixel of g lies.
template <class T, int B, int M, bool SCATTERED, int Q>
static INLINE void kernel_tile(const T *x, const L *reads, const L *offsets, L pixels, const T *g, const L *places, T *total) {
    typedef typename Vector<T, B>::type V;
    enum { LANES = B / sizeof(T) };
    V a[Q][M];
    UNROLL for (int q = 0; q < Q; q++) UNROLL for (int m = 0; m < M; m++) a[q][m] = V{};
    for (L t = 0; t < pixels; t++) {
        const T *p = x + reads[t], *given = g + (SCATTERED ? places[t] : t * panel<T>());
        V b[M];
        UNROLL for (int m = 0; m < M; m++) b[m] = load<V>(given + m * LANES);
        UNROLL for (int q = 0; q < Q; q++) UNROLL for (int m = 0; m < M; m++) a[q][m] += p[SCATTERED ? offsets[q] : q] * b[m];
    }
    UNROLL for (int q = 0; q < Q; q++) UNROLL for (int m = 0; m < M; m++) {
        T *to = total + (q * M + m) * LANES;
        store<V>(to, load<V>(to) + a[q][m]);
    }
}

// So many entries, as tiles of Q entries, and of fewer for the rest.
template <class T, int B, int M, bool SCATTERED, int Q>
static INLINE void kernel_tiles(L taps, const T *x, const L *reads, const L *offsets, L pixels, const T *g, const L *places, T *total) {
    if constexpr (Q > 0) {
        if (taps >= Q) {
            kernel_tile<T, B, M, SCATTERED, Q>(x, reads, offsets, pixels, g, places, total);
            x += SCATTERED ? 0 : Q;
            offsets += Q;
            taps -= Q;
            total += Q * B / sizeof(T) * M;
        }
        kernel_tiles<T, B, M, SCATTERED, (Q > 9 ? 9 : Q > 8 ? 8 : Q > 6 ? 6 : Q > 4 ? 4 : Q - 1)>(taps, x, reads, offsets, pixels, g, places, total);
    }
}

// Write the entries `e` to `last` of all kernels from panels of filters to where they belong.
template <class T> static void unpack_entries(const Job &j, const T *total, L e, L last, T *result) {
    for (L next; e < last; e = next) {
        const L tap = e / j.channels, column = tap % j.window[2], row = tap / j.window[2] % j.window[1], plane = tap / j.window[2] / j.window[1];
        next = least(last, (tap + 1) * j.channels);
        T *to = result + plane * j.w_space[0] + row * j.w_space[1] + column * j.w_space[2] + e % j.channels * j.w_channel;
        for (L k = 0; k < j.filters; k += panel<T>()) {
            const L count = least(panel<T>(), j.filters - k), width = width_of<T>(count);
            const T *from = total + k * depth_of(j) + e * width;
            for (L q = 0; q < count; q++)
                for (L c = 0; c < next - e; c++) to[(k + q) * j.w_filter + c * j.w_channel] = from[c * width + q];
        }
    }
}

// Call `work(entry, taps, offset)` for the tiles `start` to `stop` of a kernel's entries. Tiles of scattered entries cross segments.
template <class F> static INLINE L for_tiles(const Segment *s, L count, L depth, bool scattered, L start, L stop, F work) {
    L number = 0, first = 0;
    if (scattered)
        for (L e = 0; e < depth; e += TAPS, number++) {
            if (number >= start && number < stop) work(e, least(TAPS, depth - e), 0);
        }
    else
        for (L i = 0; i < count; first += s[i++].length)
            for (L t = 0; t < s[i].length; t += TAPS, number++)
                if (number >= start && number < stop) work(first + t, least(TAPS, s[i].length - t), s[i].offset + t);
    return number;
}

// Whether the entries that lie side by side in x are too few for a tile.
static INLINE bool is_scattered(const Job &j) { return j.window[2] * j.channels <= TAPS / 2; }

// Cotangents as panels of filters, with zeros behind the last filter.
template <class T> static void pack_cotangents(const Job &j, const T *y, const L *writes, L count, T *out) {
    for (L k = 0; k < j.filters; k += panel<T>()) {
        const L filters = least(panel<T>(), j.filters - k), width = width_of<T>(filters);
        T *to = out + k * count;
        for (L p = 0; p < count; p++, to += panel<T>()) {
            const T *from = y + writes[p] + k * j.y_channel;
            if (j.y_channel == 1 && filters == panel<T>()) __builtin_memcpy(to, from, PANEL);
            else for (L q = 0; q < width; q++) to[q] = q < filters ? from[q * j.y_channel] : 0;
        }
    }
}

// The gradient of the kernel, of which a part of the tiles, `start` to `stop`, is computed. y is the cotangent, w the result.
template <class T> static void kernel_gradient(const Job &j, const T *x, const T *y, T *w, T *scratch, L start, L stop) {
    const L depth = depth_of(j), panels = parts_of(j.filters, panel<T>()), blocks = blocks_of(j), most = j.block[0] * j.block[1] * j.block[2] * j.out[2];
    const bool scattered = is_scattered(j), is_read = scattered && j.y_channel == 1 && j.filters % panel<T>() == 0;
    Segment *segments = (Segment *)scratch;
    L *offsets = (L *)(segments + j.segments), *places = offsets + depth, count = 0;
    T *total = (T *)(places + most), *packed = total + depth * panels * panel<T>(), *rest = packed + panels * panel<T>() * most;
    for (L number = 0; number < j.stacks * j.groups; number++) {
        const L stack = number / j.groups, group = number % j.groups;
        const T *cotangent = y + j.y_at + stack * j.y_stack + group * j.filters * j.y_channel;
        __builtin_memset(total, 0, sizeof(T) * depth * panels * panel<T>());
        for (L block = 0; block < blocks; block++) {
            L at;
            const Block<T> b = block_of(j, x + j.x_at + stack * j.x_stack + group * j.channels * j.x_channel, block, rest, &at);
            find_segments(j, b.step, depth, b.of_class[0], segments);
            count = b.of_class[0].segments;
            if (scattered)
                for (L i = 0, e = 0; i < count; i++)
                    for (L t = 0; t < segments[i].length; t++) offsets[e++] = segments[i].offset + t;
            if (!is_read) pack_cotangents(j, cotangent + at, b.writes, b.count, packed);
            if (scattered) for (L p = 0; p < b.count; p++) places[p] = is_read ? b.writes[p] : p * panel<T>();
            for_tiles(segments, count, depth, scattered, start, stop, [&](L entry, L taps, L offset) {
                for (L k = 0; k < j.filters; k += panel<T>()) {
                    const L width = width_of<T>(j.filters - k), *apart = offsets + entry;
                    const T *given = is_read ? cotangent + at + k : packed + k * b.count, *seen = b.x + offset;
                    T *into = total + k * depth + entry * width;
                    if (scattered && width == panel<T>()) kernel_tiles<T, BYTES, PANEL / BYTES, true, TAPS>(taps, seen, b.reads, apart, b.count, given, places, into);
                    else if (scattered) kernel_tiles<T, NARROW, PANEL / 2 / NARROW, true, TAPS>(taps, seen, b.reads, apart, b.count, given, places, into);
                    else if (width == panel<T>()) kernel_tiles<T, BYTES, PANEL / BYTES, false, TAPS>(taps, seen, b.reads, apart, b.count, given, places, into);
                    else kernel_tiles<T, NARROW, PANEL / 2 / NARROW, false, TAPS>(taps, seen, b.reads, apart, b.count, given, places, into);
                }
            });
        }
        T *result = w + j.w_at + stack * j.w_stack + group * j.w_group;
        for_tiles(segments, count, depth, scattered, start, stop, [&](L entry, L taps, L) { unpack_entries(j, total, entry, entry + taps, result); });
    }
}

// The number of tiles of a kernel's gradient.
static L tiles_of(const Job &j) {
    const bool joined = j.dilation[2] == 1 && (j.in_place ? j.x_space[2] == j.channels : !j.gap);
    const L taps = j.window[0] * j.window[1] * j.window[2], length = joined ? j.window[2] * j.channels : j.channels;
    return is_scattered(j) ? parts_of(taps * j.channels, TAPS) : taps * j.channels / length * parts_of(length, TAPS);
}

#define KERNEL(T)                                                                                                        \
    extern "C" void kernel_##T(const Job *job, void *x, void *y, void *w, void *scratch, L own, L start, L stop) {       \
        kernel_gradient(*job, DATA(T, x), DATA(T, y), DATA(T, w), aligned(DATA(T, scratch)) + own, start, stop);         \
    }
extern "C" L tiles(const Job *j) { return tiles_of(*j); }
