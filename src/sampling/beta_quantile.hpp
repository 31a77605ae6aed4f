// SPDX-License-Identifier: Apache-2.0
// Quantile of the beta distribution, for "beta" sigma grids (arXiv 2407.12173).
#pragma once

namespace t2v::sampling {

/// x with I_x(a, b) = p: the inverse of the regularised incomplete beta function, to about 1e-14
/// relative. Preconditions: a, b > 0; p is clamped to [0, 1].
double beta_quantile(double p, double a, double b);

}  // namespace t2v::sampling
