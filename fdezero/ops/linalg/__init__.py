"""Linear algebra: solutions, inverses and factors of matrices (the last two axes). Several results are packed into one array.

`H` is the conjugate transpose. Adjoints are transposes without conjugation, as everywhere. Where a derivative is undefined
(eigenvectors of a repeated eigenvalue, the rotation of a complement), it is 0.
Sources: M. Giles, Collected matrix derivative results for forward and reverse mode algorithmic differentiation (2008);
G. Golub and V. Pereyra, The differentiation of pseudo-inverses (1973), for pinv.
"""

from .determinants import cofactor, det, slogdet
from .exponential import expm
from .factors import cholesky, eig, eig_parts, eigh, eigh_parts, inv_eigenvectors, qr, qr_parts, svd, svd_parts
from .matrices import H, hermitian, like, pack, unpack
from .roots import logm, schur_vectors, sqrtm
from .solutions import inv, pinv, solve
from .triangular import solve_triangular, sylvester

__all__ = [
    "H", "cholesky", "cofactor", "det", "eig", "eig_parts", "eigh", "eigh_parts", "expm", "hermitian", "inv", "inv_eigenvectors", "like",
    "logm", "pack", "pinv", "qr", "qr_parts", "schur_vectors", "slogdet", "solve", "solve_triangular", "sqrtm", "svd", "svd_parts",
    "sylvester", "unpack",
]  # fmt: skip
