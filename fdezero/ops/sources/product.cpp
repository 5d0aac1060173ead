// The product of two small matrices, the second of which stays in the cache: tiles of rows x columns whose sums stay in registers.

typedef long long L;

#if defined(__AVX512F__)
enum { BYTES = 64, ROWS = 8 };  // of a vector; and how many rows a tile has
#elif defined(__AVX__)
enum { BYTES = 32, ROWS = 6 };
#else
enum { BYTES = 16, ROWS = 4 };
#endif
enum { WIDE = BYTES / sizeof(T), PANEL = 128 / sizeof(T) };  // entries of a vector, and columns of a panel

typedef T V __attribute__((vector_size(BYTES)));

// R rows and C vectors of columns. a has the steps `down` and `across`, b and y have `columns` entries in a row.
template <int R, int C> static INLINE void tile(const T *a, L down, L across, const T *b, T *y, L inner, L columns) {
    V sums[R][C];
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int c = 0; c < C; c++) sums[r][c] = V{};
    for (L k = 0; k < inner; k++, a += across, b += columns) {
        V row[C];
        UNROLL for (int c = 0; c < C; c++) row[c] = load<V>(b + c * WIDE);
        UNROLL for (int r = 0; r < R; r++) {
            const V x = a[r * down] - V{};
            UNROLL for (int c = 0; c < C; c++) sums[r][c] += x * row[c];
        }
    }
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int c = 0; c < C; c++) store(y + r * columns + c * WIDE, sums[r][c]);
}

template <int C> static INLINE void panel(const T *a, L down, L across, const T *b, T *y, L rows, L inner, L columns) {
    // The last tile begins so early that it ends with the matrix.
    if (rows >= ROWS)
        for (L i = 0; i < rows; i += ROWS) {
            const L at = i + ROWS <= rows ? i : rows - ROWS;
            tile<ROWS, C>(a + at * down, down, across, b, y + at * columns, inner, columns);
        }
    else
        for (L i = 0; i < rows; i += 2) {
            const L at = i + 2 <= rows ? i : rows - 2;
            tile<2, C>(a + at * down, down, across, b, y + at * columns, inner, columns);
        }
}

// a (rows, inner) with steps in entries, b (inner, columns) -> y (rows, columns): the panels `start` to `stop`. There are at least 2 rows
// and one panel of columns. The last panel ends with the matrix.
extern "C" void product(void *y_, void *a_, void *b_, L down, L across, L rows, L inner, L columns, L start, L stop) {
    T *y = DATA(T, y_);
    const T *a = DATA(const T, a_), *b = DATA(const T, b_);
    for (L p = start; p < stop; p++) {
        const L at = (p + 1) * PANEL <= columns ? p * PANEL : columns - PANEL;
        for (L c = 0; c < PANEL; c += 2 * WIDE) panel<2>(a, down, across, b + at + c, y + at + c, rows, inner, columns);
    }
}
