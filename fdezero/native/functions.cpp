// Functions of the C library in plain arithmetic, without branches and calls, so that any compiler makes vectors of them. They serve
// where compiler and C library do not have vector forms. Series are Taylor's, on intervals that are short enough.

namespace own {

template <class To, class From> static INLINE To bits(From x) {
    To y;
    __builtin_memcpy(&y, &x, sizeof y);
    return y;
}

template <class T> struct Of;
template <> struct Of<double> {
    typedef long long Whole;
    typedef unsigned long long Bits;
    static constexpr int mantissa = 52, bias = 1023;
    static constexpr double nearest = 0x1.8p52, one_bits = 0x1p52;  // added to a number they leave its nearest integer in the last bits
    static constexpr double log2_e = 0x1.71547652b82fep+0, ln2_high = 0x1.62e42fefa38p-1, ln2_low = 0x1.ef35793c7673p-45;
    static constexpr double log10_e = 0x1.bcb7b1526e50ep-2, log10_2 = 0x1.34413509f79ffp-2;
    static constexpr double most = 710, least = -746, tiny = 0x1p-1022, lifted = 0x1p54, lift = 54, huge = 0x1p500;
    static constexpr Bits half_root = 0x3fe6a09e667f3bcd, one = 0x3ff0000000000000, large = 0x4330000000000000;
};
template <> struct Of<float> {
    typedef int Whole;
    typedef unsigned int Bits;
    static constexpr int mantissa = 23, bias = 127;
    static constexpr float nearest = 0x1.8p23f, one_bits = 0x1p23f;
    static constexpr float log2_e = 0x1.715476p+0f, ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
    static constexpr float log10_e = 0x1.bcb7b2p-2f, log10_2 = 0x1.344136p-2f;
    static constexpr float most = 89, least = -104, tiny = 0x1p-126f, lifted = 0x1p25f, lift = 25, huge = 0x1p60f;
    static constexpr Bits half_root = 0x3f3504f3, one = 0x3f800000, large = 0x4b000000;
};

// (exp(r) - 1 - r) / r ** 2 for |r| <= log(2) / 2.
static INLINE double exp_rest(double r) {
    double y = 1.0 / 6227020800.0;
    y = y * r + 1.0 / 479001600.0;
    y = y * r + 1.0 / 39916800.0;
    y = y * r + 1.0 / 3628800.0;
    y = y * r + 1.0 / 362880.0;
    y = y * r + 1.0 / 40320.0;
    y = y * r + 1.0 / 5040.0;
    y = y * r + 1.0 / 720.0;
    y = y * r + 1.0 / 120.0;
    y = y * r + 1.0 / 24.0;
    y = y * r + 1.0 / 6.0;
    return y * r + 0.5;
}
static INLINE float exp_rest(float r) {
    float y = 1.0f / 5040.0f;
    y = y * r + 1.0f / 720.0f;
    y = y * r + 1.0f / 120.0f;
    y = y * r + 1.0f / 24.0f;
    y = y * r + 1.0f / 6.0f;
    return y * r + 0.5f;
}

// log((1 + s) / (1 - s)) / s - 2 for w = s ** 2, |s| <= 3 - sqrt(8).
static INLINE double log_rest(double w) {
    double y = 2.0 / 21.0;
    y = y * w + 2.0 / 19.0;
    y = y * w + 2.0 / 17.0;
    y = y * w + 2.0 / 15.0;
    y = y * w + 2.0 / 13.0;
    y = y * w + 2.0 / 11.0;
    y = y * w + 2.0 / 9.0;
    y = y * w + 2.0 / 7.0;
    y = y * w + 2.0 / 5.0;
    return (y * w + 2.0 / 3.0) * w;
}
static INLINE float log_rest(float w) {
    float y = 2.0f / 11.0f;
    y = y * w + 2.0f / 9.0f;
    y = y * w + 2.0f / 7.0f;
    y = y * w + 2.0f / 5.0f;
    return (y * w + 2.0f / 3.0f) * w;
}

template <class T> static INLINE T power_of_2(typename Of<T>::Whole n) {
    return bits<T>((typename Of<T>::Bits)(n + Of<T>::bias) << Of<T>::mantissa);
}

// x = n * log(2) + r: returns exp(r) - 1 and gives n.
template <class T> static INLINE T reduced(T x, typename Of<T>::Whole &n) {
    typedef Of<T> O;
    T moved = x * O::log2_e + O::nearest, k = moved - O::nearest;
    n = bits<typename O::Whole>(moved) - bits<typename O::Whole>(O::nearest);
    T r = (x - k * O::ln2_high) - k * O::ln2_low;
    return r + r * r * exp_rest(r);
}

template <class T> static INLINE T within(T x, T low, T high) { return x < low ? low : x > high ? high : x; }  // NaN stays

template <class T> static INLINE T scaled(T y, typename Of<T>::Whole n) {  // y * 2 ** n, in two steps, because 2 ** n may overflow
    typename Of<T>::Whole half = (typename Of<T>::Whole)((typename Of<T>::Bits)(n + 4096) >> 1) - 2048;
    return y * power_of_2<T>(half) * power_of_2<T>(n - half);
}

template <class T> static INLINE T exp(T x) {
    typename Of<T>::Whole n;
    T p = reduced(within(x, Of<T>::least, Of<T>::most), n);
    return scaled(1 + p, n);
}

template <class T> static INLINE T exp2(T x) {
    typedef Of<T> O;
    T y = within(x, O::least * (T)1.5, O::most * (T)1.5), moved = y + O::nearest;
    T r = y - (moved - O::nearest);
    r = r * O::ln2_high + r * O::ln2_low;
    return scaled(1 + (r + r * r * exp_rest(r)), bits<typename O::Whole>(moved) - bits<typename O::Whole>(O::nearest));
}

template <class T> static INLINE T expm1(T x) {
    typename Of<T>::Whole n;
    T y = within(x, (T)-50, Of<T>::most - 8), p = reduced(y, n), power = power_of_2<T>(n);
    y = power * p + (power - 1);
    return x > Of<T>::most - 8 ? exp(x) : y;
}

// The logarithm of a positive number, as log(z) with z near 1, and the power of 2 that is left.
template <class T> static INLINE T log_near_1(T x, T &k, T &f, T &rest) {
    typedef Of<T> O;
    typename O::Bits b = bits<typename O::Bits>(x < O::tiny ? x * O::lifted : x), e = (b + (O::one - O::half_root)) >> O::mantissa;
    f = bits<T>(b - ((e - O::bias) << O::mantissa)) - 1;
    k = (bits<T>(e + O::large) - (O::one_bits + O::bias)) - (x < O::tiny ? O::lift : (T)0);
    T s = f / (2 + f), half = f * f * (T)0.5;
    rest = half - s * (half + log_rest(s * s));
    return f - rest;
}

template <class T> static INLINE T log_or_special(T x, T y) {
    T infinite = (T)__builtin_inf(), special = x == 0 ? -infinite : x == infinite ? x : (T)__builtin_nan("");
    return x > 0 && x < infinite ? y : special;
}

template <class T> static INLINE T log(T x) {
    T k, f, rest;
    log_near_1(x, k, f, rest);
    return log_or_special(x, k * Of<T>::ln2_high - ((rest - k * Of<T>::ln2_low) - f));
}

template <class T> static INLINE T log2(T x) {
    T k, f, rest, y = log_near_1(x, k, f, rest);
    return log_or_special(x, y * Of<T>::log2_e + k);
}

template <class T> static INLINE T log10(T x) {
    T k, f, rest, y = log_near_1(x, k, f, rest);
    return log_or_special(x, y * Of<T>::log10_e + k * Of<T>::log10_2);
}

template <class T> static INLINE T log1p(T x) {
    T u = 1 + x, y = log(u), lost = x - (u - 1);
    return u > 0 && u < (T)__builtin_inf() ? y + lost / u : y;
}

template <class T> static INLINE T magnitude(T x) { return x < 0 ? -x : x; }
static INLINE double signed_as(double y, double x) { return __builtin_copysign(y, x); }
static INLINE float signed_as(float y, float x) { return __builtin_copysignf(y, x); }

template <class T> static INLINE T tanh(T x) {
    T t = expm1(within(2 * magnitude(x), (T)0, (T)44));
    return signed_as(t / (t + 2), x);
}

template <class T> static INLINE T sinh(T x) {
    T a = magnitude(x), t = expm1(within(a, (T)0, (T)40)), e = exp(a * (T)0.5);
    return signed_as(a > 40 ? (e * (T)0.5) * e : (t + t / (t + 1)) * (T)0.5, x);
}

template <class T> static INLINE T cosh(T x) {
    T e = exp(magnitude(x) * (T)0.5), y = e * (T)0.5 * e;
    return y + (T)0.25 / y;
}

template <class T> static INLINE T root(T x) { return sizeof(T) == 8 ? (T)__builtin_sqrt(x) : (T)__builtin_sqrtf(x); }

template <class T> static INLINE T asinh(T x) {
    T a = magnitude(x), s = a * a, y = log1p(a + s / (1 + root(s + 1)));
    return signed_as(a > Of<T>::huge ? log(a) + (Of<T>::ln2_high + Of<T>::ln2_low) : y, x);
}

template <class T> static INLINE T acosh(T x) {
    T t = x - 1, y = log1p(t + root(2 * t + t * t));
    return x > Of<T>::huge ? log(x) + (Of<T>::ln2_high + Of<T>::ln2_low) : y;
}

template <class T> static INLINE T atanh(T x) {
    T a = magnitude(x);
    return signed_as(log1p(2 * a / (1 - a)) * (T)0.5, x);
}

}  // namespace own
