// Pooling of arrays whose channels are last in memory: the greatest entry and the sum of every window, the number of the greatest, and
// the adjoints.
//
// `a` is the array with the entries; `b` and `c` have an entry for each window. Lanes are what lies side by side inside the windows, in
// all arrays alike. A window is worked on for some lanes at a time, whose results stay in registers.

struct Axis {
    long long size, kernel, stride, before, dilation, length;  // windows, the positions of each, the length of the array
};

struct Steps {
    long long outer[3], window[3];  // in entries
};

struct Plan {
    long long outer[3];            // lengths of the loop axes outside the windows
    long long lanes, parts;        // the parts are ranges of lanes, for threads
    long long is_whole;            // whether every entry is in one window
    Axis axes[3];
    Steps a, b, c;  // behind the plan stands for each position of the kernel, in C order, its distance in `a` from the first
};

typedef unsigned char N;  // numbers of positions of the kernel; T, the type of entries, is defined in front of this source

struct Inside {  // positions of the kernel that lie inside the array, the last one excluded
    long long first, last;
};

struct Window {
    long long a, b, c;  // its first lane; in `a`, that of the first position, which may be outside the array
    bool is_inside;     // whether all positions are inside the array
    Inside in[3];
    const long long *table;
};

// M vectors of N numbers, with integers as wide as they are. A vector of one number is a number.
template <class T> struct Wide;
template <> struct Wide<float> { typedef int type; };
template <> struct Wide<double> { typedef long long type; };
template <class T, int N, int M> struct Pack {
    typedef typename Wide<T>::type Whole;
    typedef T Number __attribute__((vector_size(N * sizeof(T))));
    typedef decltype(Number() < Number()) Mask;
    static const int lanes = N, count = M, all = N * M;
};

template <class M, class V> static INLINE V choose(M mask, V x, V y) { return (V)((mask & (M)x) | (~mask & (M)y)); }

// Numbers as wide as T, by a loop: compilers convert whole vectors entry by entry.
template <class P> static INLINE void widen(typename P::Mask *wide, const N *x) {
    typename P::Whole all[P::all];
    #pragma omp simd
    for (int l = 0; l < P::all; l++) all[l] = x[l];
    __builtin_memcpy(wide, all, sizeof all);
}
template <class P> static INLINE void narrow(N *x, const typename P::Mask *wide) {
    typename P::Whole all[P::all];
    __builtin_memcpy(all, wide, sizeof all);
    #pragma omp simd
    for (int l = 0; l < P::all; l++) x[l] = all[l];
}

static INLINE Inside inside(const Axis &x, long long o) {
    long long start = o * x.stride - x.before, room = x.length - 1 - start;
    if (start >= 0 && (x.kernel - 1) * x.dilation <= room) return {0, x.kernel};  // without a division
    long long first = start < 0 ? (x.dilation - 1 - start) / x.dilation : 0, last = room < 0 ? 0 : room / x.dilation + 1;
    return {first, last < x.kernel ? last : x.kernel};
}

static INLINE bool is_full(const Axis &x, const Inside &in) { return in.first == 0 && in.last == x.kernel; }
static INLINE long long positions(const Plan &p) { return p.axes[0].kernel * p.axes[1].kernel * p.axes[2].kernel; }

static INLINE long long of_entry(const Plan &p, const Steps &s, long long entry) {
    long long i2 = entry % p.outer[2], i1 = entry / p.outer[2] % p.outer[1], i0 = entry / p.outer[2] / p.outer[1];
    return i0 * s.outer[0] + i1 * s.outer[1] + i2 * s.outer[2];
}

static INLINE long long at(const Steps &s, long long o0, long long o1, long long o2) {
    return o0 * s.window[0] + o1 * s.window[1] + o2 * s.window[2];
}

// Call work.run<Pack>(window) for all lanes of all windows of the units from `start` to `stop`: loop entries, each in `parts`.
template <class T, class Work> static void each_window(const Plan &plan, long long start, long long stop, const Work work) {
    const Plan p = plan;  // a copy, which no result can overwrite: compilers then keep it in registers
    const int wide = 32 / sizeof(T);
    const Axis *x = p.axes;
    for (long long unit = start; unit < stop; unit++) {
        long long entry = unit / p.parts, part = unit % p.parts;
        long long from = p.lanes * part / p.parts, to = p.lanes * (part + 1) / p.parts;
        long long a = of_entry(p, p.a, entry), b = of_entry(p, p.b, entry), c = of_entry(p, p.c, entry);
        for (long long o0 = 0; o0 < x[0].size; o0++)
            for (long long o1 = 0; o1 < x[1].size; o1++) {
                Window w;
                w.table = (const long long *)(&plan + 1);
                w.in[0] = inside(x[0], o0), w.in[1] = inside(x[1], o1);
                bool are_full = is_full(x[0], w.in[0]) && is_full(x[1], w.in[1]);
                for (long long o2 = 0; o2 < x[2].size; o2++) {
                    w.in[2] = inside(x[2], o2);
                    w.is_inside = are_full && is_full(x[2], w.in[2]);
                    w.a = a + from + at(p.a, o0 * x[0].stride - x[0].before, o1 * x[1].stride - x[1].before, o2 * x[2].stride - x[2].before);
                    w.b = b + from + at(p.b, o0, o1, o2);
                    w.c = c + from + at(p.c, o0, o1, o2);
                    for (long long left = to - from; left;) {
                        int n = left >= 4 * wide ? 4 * wide : left >= wide ? wide : 1;
                        if (n == 4 * wide) work.template run<Pack<T, wide, 4>>(p, w);
                        else if (n == wide) work.template run<Pack<T, wide, 1>>(p, w);
                        else work.template run<Pack<T, 1, 1>>(p, w);
                        left -= n, w.a += n, w.b += n, w.c += n;
                    }
                }
            }
    }
}

struct Range {  // windows that may have an entry, the last one excluded
    long long first, last;
};

static INLINE Range having(const Axis &x, long long i) {
    long long most = i + x.before, least = most - (x.kernel - 1) * x.dilation;
    long long first = least <= 0 ? 0 : (unsigned)(least + x.stride - 1) / (unsigned)x.stride, last = (unsigned)most / (unsigned)x.stride + 1;
    return {first, last < x.size ? last : x.size};
}

struct Entry {
    long long a, b, c;  // its first lane; in `b` and `c`, that of the first window
    long long i[3];
    Range of[3];
};

// Call work.run<Pack>(entry) for all lanes of all entries of `a`.
template <class T, class Work> static void each_entry(const Plan &plan, long long start, long long stop, const Work work) {
    const Plan p = plan;
    const int wide = 32 / sizeof(T);
    const Axis *x = p.axes;
    for (long long unit = start; unit < stop; unit++) {
        long long entry = unit / p.parts, part = unit % p.parts;
        long long from = p.lanes * part / p.parts, to = p.lanes * (part + 1) / p.parts;
        long long a = of_entry(p, p.a, entry) + from, b = of_entry(p, p.b, entry) + from, c = of_entry(p, p.c, entry) + from;
        for (long long i0 = 0; i0 < x[0].length; i0++)
            for (long long i1 = 0; i1 < x[1].length; i1++) {
                Range of0 = having(x[0], i0), of1 = having(x[1], i1);
                for (long long i2 = 0; i2 < x[2].length; i2++) {
                    Entry e = {a + at(p.a, i0, i1, i2), b, c, {i0, i1, i2}, {of0, of1, having(x[2], i2)}};
                    for (long long left = to - from; left;) {
                        int n = left >= 8 * wide ? 8 * wide : left >= 4 * wide ? 4 * wide : left >= wide ? wide : 1;
                        if (n == 8 * wide) work.template run<Pack<T, 2 * wide, 4>>(p, e);  // finding the windows costs the most
                        else if (n == 4 * wide) work.template run<Pack<T, wide, 4>>(p, e);
                        else if (n == wide) work.template run<Pack<T, wide, 1>>(p, e);
                        else work.template run<Pack<T, 1, 1>>(p, e);
                        left -= n, e.a += n, e.b += n, e.c += n;
                    }
                }
            }
    }
}

// Call f(o0, o1, o2, number) for all windows that have an entry, where it has this number.
template <class F> static INLINE void each_window_of(const Plan &p, const Entry &e, F f) {
    const Axis *x = p.axes;
    for (long long o0 = e.of[0].first; o0 < e.of[0].last; o0++) {
        long long k0 = e.i[0] + x[0].before - o0 * x[0].stride;
        if (x[0].dilation > 1 && (k0 % x[0].dilation || (k0 /= x[0].dilation, false))) continue;
        for (long long o1 = e.of[1].first; o1 < e.of[1].last; o1++) {
            long long k1 = e.i[1] + x[1].before - o1 * x[1].stride;
            if (x[1].dilation > 1 && (k1 % x[1].dilation || (k1 /= x[1].dilation, false))) continue;
            for (long long o2 = e.of[2].first; o2 < e.of[2].last; o2++) {
                long long k2 = e.i[2] + x[2].before - o2 * x[2].stride;
                if (x[2].dilation > 1 && (k2 % x[2].dilation || (k2 /= x[2].dilation, false))) continue;
                f(o0, o1, o2, (k0 * x[1].kernel + k1) * x[2].kernel + k2);
            }
        }
    }
}

// Call f(place, number) for all positions of a window that are inside the array, from the last one to the first.
template <class F> static INLINE void each_position(const Plan &p, const Window &w, F f) {
    if (w.is_inside) {
        for (long long k = positions(p) - 1; k >= 0; k--) f(w.a + w.table[k], k);
        return;
    }
    for (long long k0 = w.in[0].last - 1; k0 >= w.in[0].first; k0--)
        for (long long k1 = w.in[1].last - 1; k1 >= w.in[1].first; k1--)
            for (long long k2 = w.in[2].last - 1; k2 >= w.in[2].first; k2--) {
                long long k = (k0 * p.axes[1].kernel + k1) * p.axes[2].kernel + k2;
                f(w.a + w.table[k], k);
            }
}

#define EACH(m) _Pragma("GCC unroll 4") for (int m = 0; m < P::count; m++)

struct Greatest {
    T *out;
    const T *x;
    template <class P> INLINE void run(const Plan &p, const Window &w) const {
        typedef typename P::Number V;
        typename P::Mask is_lost[P::count];  // whether an entry is NaN
        V most[P::count];
        EACH(m) most[m] = V{} - (T)__builtin_inff(), is_lost[m] = most[m] != most[m];
        each_position(p, w, [&](long long place, long long) __attribute__((always_inline)) {
            EACH(m) {
                V here = load<V>(x + place + m * P::lanes);
                most[m] = choose(here > most[m], here, most[m]);
                is_lost[m] |= here != here;
            }
        });
        EACH(m) store(out + w.b + m * P::lanes, choose(is_lost[m], V{} + (T)__builtin_nanf(""), most[m]));
    }
};

struct Summed {
    T *out;
    const T *x;
    template <class P> INLINE void run(const Plan &p, const Window &w) const {
        typedef typename P::Number V;
        V total[P::count];
        EACH(m) total[m] = V{};
        each_position(p, w, [&](long long place, long long) __attribute__((always_inline)) {
            EACH(m) total[m] += load<V>(x + place + m * P::lanes);
        });
        EACH(m) store(out + w.b + m * P::lanes, total[m]);
    }
};

// The number of the first entry that is y, or that is NaN. From the last one to the first, each takes the place of those behind.
struct First {
    N *out;
    const T *x, *y;
    template <class P> INLINE void run(const Plan &p, const Window &w) const {
        typedef typename P::Number V;
        typedef typename P::Mask I;
        V sought[P::count];
        I number[P::count], is_lost = V{} != V{};
        EACH(m) {
            sought[m] = load<V>(y + w.b + m * P::lanes);
            number[m] = I{} + (typename P::Whole)(positions(p) - 1);
            is_lost |= sought[m] != sought[m];
        }
        bool are_lost = false;
        for (int l = 0; l < P::lanes; l++) are_lost |= is_lost[l] != 0;
        if (are_lost)
            each_position(p, w, [&](long long place, long long k) __attribute__((always_inline)) {
                EACH(m) {
                    V here = load<V>(x + place + m * P::lanes);
                    number[m] = choose((here == sought[m]) | (here != here), I{} + (typename P::Whole)k, number[m]);
                }
            });
        else
            each_position(p, w, [&](long long place, long long k) __attribute__((always_inline)) {
                EACH(m) number[m] = choose(load<V>(x + place + m * P::lanes) == sought[m], I{} + (typename P::Whole)k, number[m]);
            });
        narrow<P>(out + w.c, number);
    }
};

// Whether a position of the kernel is inside the array, for a window that is not as a whole.
static inline bool has(const Plan &p, const Window &w, long long number) {
    long long k2 = number % p.axes[2].kernel, k1 = number / p.axes[2].kernel % p.axes[1].kernel;
    long long k0 = number / p.axes[2].kernel / p.axes[1].kernel;
    const Inside *in = w.in;
    return k0 >= in[0].first && k0 < in[0].last && k1 >= in[1].first && k1 < in[1].last && k2 >= in[2].first && k2 < in[2].last;
}

struct Chosen {
    T *out;
    const T *x;
    const N *numbers;
    template <class P> INLINE void run(const Plan &p, const Window &w) const {
        for (int l = 0; l < P::all; l++) {
            long long number = numbers[w.c + l];
            out[w.b + l] = (w.is_inside ? number < positions(p) : has(p, w, number)) ? x[w.a + l + w.table[number]] : 0;
        }
    }
};

// The adjoint of `Chosen` where each entry is in one window: t or zero is written.
struct Written {
    T *out;
    const T *t;
    const N *numbers;
    template <class P> INLINE void run(const Plan &p, const Window &w) const {
        typedef typename P::Number V;
        typedef typename P::Mask I;
        V given[P::count];
        I number[P::count];
        EACH(m) given[m] = load<V>(t + w.b + m * P::lanes);
        widen<P>(number, numbers + w.c);
        each_position(p, w, [&](long long place, long long k) __attribute__((always_inline)) {
            EACH(m) store(out + place + m * P::lanes, (V)((I)given[m] & (number[m] == (typename P::Whole)k)));
        });
    }
};

// The adjoint of `Chosen` elsewhere: an entry gets t from its windows, in their order.
struct Collected {
    T *out;
    const T *t;
    const N *numbers;
    template <class P> INLINE void run(const Plan &p, const Entry &e) const {
        typedef typename P::Number V;
        typedef typename P::Mask I;
        V total[P::count];
        EACH(m) total[m] = V{};
        each_window_of(p, e, [&](long long o0, long long o1, long long o2, long long k) __attribute__((always_inline)) {
            const T *given = t + e.b + at(p.b, o0, o1, o2);
            I number[P::count];
            widen<P>(number, numbers + e.c + at(p.c, o0, o1, o2));
            EACH(m) total[m] += (V)((I)load<V>(given + m * P::lanes) & (number[m] == (typename P::Whole)k));
        });
        EACH(m) store(out + e.a + m * P::lanes, total[m]);
    }
};

// The adjoint of `Summed`.
struct Spread {
    T *out;
    const T *t;
    template <class P> INLINE void run(const Plan &p, const Entry &e) const {
        typedef typename P::Number V;
        V total[P::count];
        EACH(m) total[m] = V{};
        each_window_of(p, e, [&](long long o0, long long o1, long long o2, long long) __attribute__((always_inline)) {
            const T *given = t + e.b + at(p.b, o0, o1, o2);
            EACH(m) total[m] += load<V>(given + m * P::lanes);
        });
        EACH(m) store(out + e.a + m * P::lanes, total[m]);
    }
};

#define FUNCTION(name, ...) extern "C" void name(__VA_ARGS__, void *plan, long long start, long long stop)
#define PLAN (*DATA(const Plan, plan))

FUNCTION(greatest, void *y, void *x) { each_window<T>(PLAN, start, stop, Greatest{DATA(T, y), DATA(T, x)}); }
FUNCTION(summed, void *y, void *x) { each_window<T>(PLAN, start, stop, Summed{DATA(T, y), DATA(T, x)}); }
FUNCTION(spread, void *x, void *t) { each_entry<T>(PLAN, start, stop, Spread{DATA(T, x), DATA(T, t)}); }
FUNCTION(first_greatest, void *k, void *x, void *y) {
    each_window<T>(PLAN, start, stop, First{DATA(N, k), DATA(T, x), DATA(T, y)});
}
FUNCTION(chosen_of, void *y, void *x, void *k) {
    each_window<T>(PLAN, start, stop, Chosen{DATA(T, y), DATA(T, x), DATA(N, k)});
}
FUNCTION(placed_at, void *x, void *t, void *k) {
    if (PLAN.is_whole)
        each_window<T>(PLAN, start, stop, Written{DATA(T, x), DATA(T, t), DATA(N, k)});
    else
        each_entry<T>(PLAN, start, stop, Collected{DATA(T, x), DATA(T, t), DATA(N, k)});
}
