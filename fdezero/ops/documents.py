"""What `help` says of the operations that users call by name: a sentence for each here, the rest from its declaration."""

from ..core.kinds import Elementwise
from ..core.primitive import REGISTRY

SENTENCES = """
add: x0 + x1.
subtract: x0 - x1.
multiply: x0 * x1.
divide: x0 / x1, floating also for integers.
negative: -x0.
positive: x0 itself.
square: x0 * x0.
reciprocal: 1 / x0.
quotient: x0 / x1, and 0 for 0 / 0 and 0 / NaN.
scaled: x0 * x1, and 0 for 0 times infinity or NaN.
power: x0 to the power x1.
absolute: |x0|; the derivative at 0 is 0.
modulus: |x0| of complex numbers; the derivative at 0 is 0.
remainder: x0 modulo x1, of the sign of x1.
fmod: The remainder of x0 / x1, of the sign of x0, as in C.
exp: e to the power x0.
exp2: 2 to the power x0.
expm1: exp(x0) - 1, exact near 0.
log: The natural logarithm of x0.
log2: The logarithm of x0 to base 2.
log10: The logarithm of x0 to base 10.
log1p: log(1 + x0), exact near 0.
sqrt: The square root of x0; the derivative at 0 is infinite.
cbrt: The cube root of x0, negative numbers included.
logaddexp: log(exp(x0) + exp(x1)) without overflow.
logaddexp2: log2(2 ** x0 + 2 ** x1) without overflow.
sin: The sine of x0, in radians.
cos: The cosine of x0, in radians.
tan: The tangent of x0, in radians.
arcsin: The angle from -pi/2 to pi/2 whose sine is x0.
arccos: The angle from 0 to pi whose cosine is x0.
arctan: The angle from -pi/2 to pi/2 whose tangent is x0.
arctan2: The angle of the point (x1, x0) in the plane, from -pi to pi: y comes first.
hypot: The length sqrt(x0 ** 2 + x1 ** 2) without overflow; the derivative at (0, 0) is 0.
sinh: The hyperbolic sine of x0.
cosh: The hyperbolic cosine of x0.
tanh: The hyperbolic tangent of x0.
arcsinh: The inverse of sinh.
arccosh: The inverse of cosh, for x0 from 1 on.
arctanh: The inverse of tanh, for x0 between -1 and 1.
deg2rad: Degrees in radians.
rad2deg: Radians in degrees.
maximum: The greater of x0 and x1, NaN if either is; the derivative is split evenly at ties.
minimum: The lesser of x0 and x1, NaN if either is; the derivative is split evenly at ties.
fmax: The greater of x0 and x1, passing over NaN; the derivative is split evenly at ties.
fmin: The lesser of x0 and x1, passing over NaN; the derivative is split evenly at ties.
where: x1 where x0 is true, x2 elsewhere; no NaN of the entries not taken reaches the derivative.
clip: x0 kept between x1 and x2; the derivative on the bounds is 1.
ldexp: x0 * 2 ** x1, for integers x1.
copysign: |x0| with the sign of x1.
sigmoid: 1 / (1 + exp(-x0)).
relu: max(x0, 0); the derivative at 0 is 0.
equal: Whether x0 == x1.
not_equal: Whether x0 != x1.
less: Whether x0 < x1.
less_equal: Whether x0 <= x1.
greater: Whether x0 > x1.
greater_equal: Whether x0 >= x1.
bitwise_and: The bits that both x0 and x1 have; of booleans the logical and.
bitwise_or: The bits that x0 or x1 has; of booleans the logical or.
bitwise_xor: The bits that one of x0 and x1 has; of booleans whether they differ.
left_shift: x0 shifted by x1 bits to the left.
right_shift: x0 shifted by x1 bits to the right.
floor_divide: x0 / x1 rounded down.
invert: The bits that x0 has not; of booleans the logical not.
logical_and: Whether both x0 and x1 are nonzero.
logical_or: Whether x0 or x1 is nonzero.
logical_xor: Whether one of x0 and x1 is nonzero.
logical_not: Whether x0 is zero.
isnan: Whether x0 is NaN.
isinf: Whether x0 is infinite.
isfinite: Whether x0 is neither infinite nor NaN.
signbit: Whether the sign of x0 is negative, that of -0.0 too.
sign: -1, 0 or 1, as x0 is.
floor: x0 rounded down.
ceil: x0 rounded up.
trunc: x0 rounded towards 0.
rint: x0 rounded to the nearest integer, halves to the even one.
heaviside: 0 for x0 < 0, 1 for x0 > 0, and x1 at 0.
nextafter: The floating number next to x0 on the way to x1.
spacing: The distance from x0 to the next floating number.
exponent: The n for which |x0| = m * 2 ** n, with m from 1/2 to 1.
gcd: The greatest common divisor of integers.
lcm: The least common multiple of integers.
round: x0 rounded to `decimals` digits.
stop_gradient: x0 as a constant: the derivative ends here.
astype_discrete: x0 as integers, booleans, or another dtype without derivative.
erf: The error function, 2 / sqrt(pi) times the integral of exp(-t ** 2) from 0 to x0.
erfc: 1 - erf(x0), exact for large x0.
erfinv: The inverse of erf.
erfcinv: The inverse of erfc.
erfcx: exp(x0 ** 2) * erfc(x0), without underflow.
zeta: Hurwitz's zeta function, the sum of (k + x1) ** -x0 over k >= 0.
digamma: The derivative of gammaln.
gammaln: The logarithm of |gamma(x0)|.
betaln: The logarithm of |beta(x0, x1)|.
beta: gamma(x0) * gamma(x1) / gamma(x0 + x1).
gammainc: The regularised lower incomplete gamma function of shape x0, up to x1; no derivative for x0.
gammaincc: 1 - gammainc(x0, x1), exact for large x1; no derivative for x0.
bessel_i0: The modified Bessel function of the first kind, of order 0.
bessel_i1: The modified Bessel function of the first kind, of order 1.
bessel_i0e: exp(-|x0|) * i0(x0), without overflow.
bessel_i1e: exp(-|x0|) * i1(x0), without overflow.
xlogy: x0 * log(x1), and 0 where x0 is 0.
xlog1py: x0 * log(1 + x1), and 0 where x0 is 0.
entr: -x0 * log(x0), the entropy's term; 0 at 0, -inf below.
"""

for line in SENTENCES.strip().splitlines():
    name, _, sentence = line.partition(": ")
    operation = REGISTRY[name]
    if isinstance(operation, Elementwise):
        count = len(operation.partials)
        moving = ", ".join(f"x{i}" for i in range(count) if operation.differentiates(i))
        shapes = ", ".join(f"x{i} (...)" for i in range(count)) + " -> (...)"
        rest = f"{shapes}, entry by entry{' with broadcasting' if count > 1 else ''}; derivatives for {moving}, of every order."
    else:
        rest = "Entry by entry, with broadcasting; no derivative passes."
    operation.__doc__ = f"{sentence}\n\n{rest} dtypes are NumPy's. Raises ShapeError where shapes do not go together."
