// Rows that are added where an index says, in its order. T is the type of entries, I that of the index.

// x (loops, points, width), index (loops or 1, points) -> out (loops, n, width): columns `start` to `stop`. Returns 1 for an index out of range.
extern "C" long long scatter_add(
    void *out_, void *x_, void *index_, long long loops, long long n, long long points, long long width, bool is_shared, long long start,
    long long stop) {
    T *out = DATA(T, out_);
    const T *x = DATA(const T, x_);
    for (long long loop = 0; loop < loops; loop++, out += n * width) {
        const I *index = DATA(const I, index_) + (is_shared ? 0 : loop * points);
        if (start == 0 && stop == width)
            __builtin_memset(out, 0, n * width * sizeof(T));
        else
            for (long long i = 0; i < n; i++) __builtin_memset(out + i * width + start, 0, (stop - start) * sizeof(T));
        for (long long i = 0; i < points; i++, x += width) {
            long long row = index[i];
            row += row < 0 ? n : 0;
            if (row < 0 || row >= n) return 1;
            T *__restrict to = out + row * width;
            const T *__restrict from = x;
            for (long long j = start; j < stop; j++) to[j] += from[j];
        }
    }
    return 0;
}
