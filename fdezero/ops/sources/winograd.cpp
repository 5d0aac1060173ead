// Winograd's F(4x4, 3x3), after convolution.cpp: 36 products in place of 144 for each 4x4 results of a pair of channels. Tiles of 6x6
// pixels, kernels and results are transformed, for some channels at a time. Sums of x times 4 or 5 cost digits.

// 6 entries of x, at steps of `s`, times the transposed B.
template <class V> static INLINE void transform_images(const V *d, L s, V *o, L t) {
    const V a = d[4 * s] - 4 * d[2 * s], b = d[3 * s] - 4 * d[s], c = d[4 * s] - d[2 * s], e = 2 * (d[3 * s] - d[s]);
    o[0] = 4 * d[0] - 5 * d[2 * s] + d[4 * s];
    o[t] = a + b;
    o[2 * t] = a - b;
    o[3 * t] = c + e;
    o[4 * t] = c - e;
    o[5 * t] = 4 * d[s] - 5 * d[3 * s] + d[5 * s];
}

// 6 sums of products times the transposed A: 4 results.
template <class V> static INLINE void transform_results(const V *m, L s, V *o, L t) {
    const V a = m[s] + m[2 * s], b = m[s] - m[2 * s], c = m[3 * s] + m[4 * s], d = m[3 * s] - m[4 * s];
    o[0] = m[0] + a + c;
    o[t] = b + 2 * d;
    o[2 * t] = a + 4 * c;
    o[3 * t] = b + 8 * d + m[5 * s];
}

// 3 entries of a kernel times G.
template <class T, class V> static INLINE void transform_kernels(const V *w, L s, V *o, L t) {
    const V a = (w[0] + w[2 * s]) * (T)(-1. / 6), b = w[s] * (T)(-1. / 6), c = w[0] * (T)(1. / 24) + w[2 * s] * (T)(1. / 6), d = w[s] * (T)(1. / 12);
    o[0] = w[0] * (T)(1. / 4);
    o[t] = a + b;
    o[2 * t] = a - b;
    o[3 * t] = c + d;
    o[4 * t] = c - d;
    o[5 * t] = w[2 * s];
}

// Packed kernels, 9 entries for each channel, as 36: (36, panels, channels, filters of a panel).
template <class T> static void pack_transformed(const Job &j, const T *packed, T *out) {
    typedef typename Vector<T, NARROW>::type V;
    const L C = j.channels, size = C * panel<T>() * parts_of(j.filters, panel<T>());
    for (L k = 0; k < j.filters; k += panel<T>()) {
        const L width = width_of<T>(j.filters - k);
        for (L c = 0; c < C; c++)
            for (L q = 0; q < width; q += NARROW / sizeof(T)) {
                V w[9], half[18], u[36];
                for (L i = 0; i < 9; i++) w[i] = load<V>(packed + k * 9 * C + (i * C + c) * width + q);
                for (int i = 0; i < 3; i++) transform_kernels<T>(w + i, 3, half + i, 3);
                for (int i = 0; i < 6; i++) transform_kernels<T>(half + 3 * i, 1, u + 6 * i, 1);
                for (L i = 0; i < 36; i++) store<V>(out + i * size + k * C + c * width + q, u[i]);
            }
    }
}

// Blocks `start` to `stop` of `many` tiles. In scratch are the transformed images and the sums of products, both (36, many, channels).
template <class T> static void winograd(const Job &j, const T *x, const T *u, T *y, T *scratch, L many, L start, L stop) {
    typedef typename Vector<T, NARROW>::type V;
    const L C = j.channels, K = j.filters, panels = parts_of(K, panel<T>()), size = C * panel<T>() * panels, lanes = NARROW / sizeof(T);
    const L tall = parts_of(j.out[1], 4), wide = parts_of(j.out[2], 4);
    Segment *segments = (Segment *)scratch;
    L *reads = (L *)(segments + j.segments), *writes = reads + many;
    T *images = aligned((T *)(writes + many)), *sums = images + 36 * many * C;
    Class all = {0, 0, {0, 0, 0}, {1, 1, 1}, 0, 0, 0, segments};
    for (L t = 0; t < C; t += j.chunk) segments[all.segments++] = {t, least(j.chunk, C - t), t};
    for (L q = 0; q < many; q++) reads[q] = q * C, writes[q] = q * K;
    x += j.x_at;
    y += j.y_at;
    for (L first = start * many; first < least(stop * many, j.examples * tall * wide); first += many) {
        const L tiles_here = least(many, j.examples * tall * wide - first);
        for (L q = 0; q < tiles_here; q++) {
            const L n = (first + q) / (tall * wide), h0 = (first + q) / wide % tall * 4 - j.before[1], w0 = (first + q) % wide * 4 - j.before[2];
            const T *image = x + n * j.x_example;
            for (L c = 0; c < C; c += lanes) {
                V d[36], t[36];
                for (L h = 0; h < 6; h++)
                    for (L w = 0; w < 6; w++) {
                        const bool is_inside = h0 + h >= 0 && h0 + h < j.size[1] && w0 + w >= 0 && w0 + w < j.size[2];
                        d[6 * h + w] = is_inside ? load<V>(image + (h0 + h) * j.x_space[1] + (w0 + w) * j.x_space[2] + c) : V{};
                    }
                for (int i = 0; i < 6; i++) transform_images(d + i, 6, t + i, 6);
                for (int i = 0; i < 6; i++) transform_images(t + 6 * i, 1, d + 6 * i, 1);
                for (L i = 0; i < 36; i++) store<V>(images + (i * many + q) * C + c, d[i]);
            }
        }
        for (L i = 0; i < 36; i++) {
            all.count = tiles_here, all.from = all.next = 0;
            const Block<T> b = {images + i * many * C, {0, 0, 0, 0}, tiles_here, 1, reads, writes, &all};
            convolve_block(b, u + i * size, sums + i * many * K, K, 0, panels, C, j.chunk);
        }
        for (L q = 0; q < tiles_here; q++) {
            const L n = (first + q) / (tall * wide), h0 = (first + q) / wide % tall * 4, w0 = (first + q) % wide * 4;
            T *result = y + n * j.y_example + h0 * j.y_space[1] + w0 * j.y_space[2];
            for (L k = 0; k < K; k += lanes) {
                V m[36], t[24];
                for (L i = 0; i < 36; i++) m[i] = load<V>(sums + (i * many + q) * K + k);
                for (int i = 0; i < 6; i++) transform_results(m + i, 6, t + i, 6);
                for (int i = 0; i < 4; i++) transform_results(t + 6 * i, 1, m + 4 * i, 1);
                for (L h = 0; h < least(4, j.out[1] - h0); h++)
                    for (L w = 0; w < least(4, j.out[2] - w0); w++) store<V>(result + h * j.y_space[1] + w * j.y_space[2] + k, m[4 * h + w]);
            }
        }
    }
}

#define WINOGRAD(T)                                                                                                      \
    extern "C" void transform_##T(const Job *j, void *w, void *scratch, L at) {                                          \
        T *memory = aligned(DATA(T, scratch));                                                                           \
        pack(*j, DATA(T, w), memory + at);                                                                               \
        pack_transformed(*j, memory + at, memory);                                                                       \
    }                                                                                                                    \
    extern "C" void winograd_##T(const Job *j, void *x, void *y, void *scratch, L own, L many, L start, L stop) {        \
        T *memory = aligned(DATA(T, scratch));                                                                           \
        winograd(*j, DATA(T, x), memory, DATA(T, y), memory + own, many, start, stop);                                   \
    }
