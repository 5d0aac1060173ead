// What lies between the products of attention: lines of scores, whose exponentials take one pass while the line is in the cache.
//
// A block is `count` lines of `length` scores, `rows` for each entry. Line r of an entry sees the first hidden + r scores. T is the type
// of numbers. Logarithms of sums lie side by side for the lines of an entry, and `outer` apart for entries.

static const int LANES = 32 / sizeof(T);
typedef T V __attribute__((vector_size(32)));
typedef decltype(V() < V()) M;

template <class R> static INLINE R constant(double x) { return R{} + (T)x; }

// The exponential of numbers that are not great: 2^n times a polynomial of what is left. Below the least normal number it is 0.
template <int BYTES> struct Exponential;
template <> struct Exponential<4> {  // degree 6, about one unit in the last place
    static INLINE V of(V x) {
        V shifted = x * (T)1.44269504088896341 + (T)12582912.0, n = shifted - (T)12582912.0;
        V r = x - n * (T)0.693359375 + n * (T)2.12194440e-4;
        V p = constant<V>(1.9875691500e-4);
        p = p * r + (T)1.3981999507e-3;
        p = p * r + (T)8.3334519073e-3;
        p = p * r + (T)4.1665795894e-2;
        p = p * r + (T)1.6666665459e-1;
        p = p * r + (T)5.0000001201e-1;
        p = p * r * r + r + (T)1.0;
        V y = p * (V)(((M)shifted << 23) + (M)constant<V>(1.0));
        return (V)((M)y & ~(x < (T)-87.33));  // NaN stays
    }
};
template <> struct Exponential<8> {  // degree 13
    static INLINE V of(V x) {
        V shifted = x * (T)1.44269504088896341 + (T)6755399441055744.0, n = shifted - (T)6755399441055744.0;
        V r = x - n * (T)0.693147180369123816490 - n * (T)1.90821492927058770002e-10;
        V p = constant<V>(1.0 / 6227020800.0);
        const double factors[] = {1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0,
                                  1.0 / 5040.0,      1.0 / 720.0,      1.0 / 120.0,     1.0 / 24.0,     1.0 / 6.0,
                                  0.5,               1.0,              1.0};
        _Pragma("GCC unroll 13") for (int i = 0; i < 13; i++) p = p * r + (T)factors[i];
        V y = p * (V)(((M)shifted << 52) + (M)constant<V>(1.0));
        return (V)((M)y & ~(x < (T)-708.0));
    }
};

static INLINE V exponential(V x) { return Exponential<sizeof(T)>::of(x); }

typedef T Half __attribute__((vector_size(16)));
static const int HALF = LANES / 2;

static INLINE T sum_of(V v) {
    Half x[2];
    __builtin_memcpy(x, &v, sizeof v);
    x[0] += x[1];
    T total = x[0][0];
    for (int i = 1; i < HALF; i++) total += x[0][i];
    return total;
}

static INLINE V greater(V x, V y) { return x > y ? x : y; }  // NaN may be lost: its exponential is NaN anyway

static INLINE T greatest_of(V v) {
    Half x[2];
    __builtin_memcpy(x, &v, sizeof v);
    T most = x[0][0];
    for (int i = 0; i < HALF; i++)
        for (int k = 0; k < 2; k++) most = x[k][i] > most ? x[k][i] : most;
    return most;
}

// The last n numbers that a line sees, fewer than a vector has, with `rest` behind them. The line has `room` numbers from x on.
static INLINE V load_some(const T *x, int n, long long room, T rest) {
    T all[LANES];
    for (int i = 0; i < LANES; i++) all[i] = i;
    M has = load<V>(all) < constant<V>(n);
    if (room >= LANES) return has ? load<V>(x) : V{} + rest;
    for (int i = 0; i < LANES; i++) all[i] = i < n ? x[i] : rest;
    return load<V>(all);
}
static INLINE void store_some(T *x, int n, long long room, V v) {
    if (room >= LANES) return store(x, v);
    T all[LANES];
    store(all, v);
    for (int i = 0; i < n; i++) x[i] = all[i];
}

static INLINE long long seen(long long length, long long first) { return first < 0 ? 0 : first < length ? first : length; }

// x = exp(x - shift) for the first n scores, 0 for the others. Returns the sum.
static INLINE T exponentials(T *x, long long n, long long length, T shift) {
    V sums[4] = {V{}, V{}, V{}, V{}};
    long long i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        _Pragma("GCC unroll 4") for (int k = 0; k < 4; k++) {
            V e = exponential(load<V>(x + i + k * LANES) - shift);
            store(x + i + k * LANES, e);
            sums[k] += e;
        }
    }
    for (; i + LANES <= n; i += LANES) {
        V e = exponential(load<V>(x + i) - shift);
        store(x + i, e);
        sums[0] += e;
    }
    if (i < n) {
        V e = exponential(load_some(x + i, n - i, length - i, (T)-__builtin_inff()) - shift);
        store_some(x + i, n - i, length - i, e);
        sums[1] += e;
    }
    if (n < length) __builtin_memset(x + n, 0, (length - n) * sizeof(T));
    return sum_of((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// s = exp(s - most) for each line, with its greatest score and its sum, at least `tiny`.
extern "C" void softmax(
    void *s_, void *most_, void *sums_, double lowest, double tiny, long long rows, long long length, long long hidden, long long start,
    long long stop) {
    T *s = DATA(T, s_), *greatest = DATA(T, most_), *sums = DATA(T, sums_);
    for (long long line = start; line < stop; line++) {
        long long n = seen(length, hidden + line % rows), i = 0;
        T *x = s + line * length;
        V most = constant<V>(lowest), others = most;
        for (; i + 2 * LANES <= n; i += 2 * LANES) {
            most = greater(load<V>(x + i), most);
            others = greater(load<V>(x + i + LANES), others);
        }
        for (; i + LANES <= n; i += LANES) most = greater(load<V>(x + i), most);
        if (i < n) others = greater(load_some(x + i, n - i, length - i, (T)lowest), others);
        greatest[line] = greatest_of(greater(others, most));
        T sum = exponentials(x, n, length, greatest[line]);
        sums[line] = sum < (T)tiny ? (T)tiny : sum;
    }
}

// s = exp(s - total) for each line.
extern "C" void weights(
    void *s_, void *totals_, long long rows, long long length, long long hidden, long long outer, long long start, long long stop) {
    T *s = DATA(T, s_), *totals = DATA(T, totals_);
    for (long long line = start; line < stop; line++) {
        long long r = line % rows;
        exponentials(s + line * length, seen(length, hidden + r), length, totals[line / rows * outer + r]);
    }
}

// d = p (d - shift) for each line.
extern "C" void slopes(void *d_, void *p_, void *shifts_, long long length, long long start, long long stop) {
    T *d = DATA(T, d_), *p = DATA(T, p_), *shifts = DATA(T, shifts_);
    for (long long line = start; line < stop; line++) {
        T *__restrict to = d + line * length;
        const T *__restrict factor = p + line * length;
        T shift = shifts[line];
        for (long long i = 0; i < length; i++) to[i] = factor[i] * (to[i] - shift);
    }
}
