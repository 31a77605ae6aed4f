// SPDX-License-Identifier: Apache-2.0
#include "sampling/beta_quantile.hpp"

#include <cmath>
#include <initializer_list>
#include <limits>

namespace t2v::sampling {
namespace {

double log_beta(double a, double b) { return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b); }

// Continued fraction of the incomplete beta function (DLMF 8.17.22), evaluated by Lentz's method.
double continued_fraction(double x, double a, double b) {
  constexpr double kTiny = 1e-300;
  double c = 1.0;
  double d = 1.0 - (a + b) * x / (a + 1.0);
  d = 1.0 / (std::fabs(d) < kTiny ? kTiny : d);
  double result = d;
  for (int m = 1; m <= 500; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double change = 1.0;
    for (const double term : {even, odd}) {
      d = 1.0 + term * d;
      d = 1.0 / (std::fabs(d) < kTiny ? kTiny : d);
      c = 1.0 + term / c;
      c = std::fabs(c) < kTiny ? kTiny : c;
      change = c * d;
      result *= change;
    }
    if (std::fabs(change - 1.0) < std::numeric_limits<double>::epsilon()) {
      break;
    }
  }
  return result;
}

// I_x(a, b) for x small enough that the continued fraction converges fast.
double lower_tail(double x, double a, double b) {
  return std::exp(a * std::log(x) + b * std::log1p(-x) - log_beta(a, b)) / a * continued_fraction(x, a, b);
}

double regularised(double x, double a, double b) {
  return x < (a + 1) / (a + b + 2) ? lower_tail(x, a, b) : 1.0 - lower_tail(1.0 - x, b, a);
}

// Newton's method inside a shrinking bracket. Only for p <= I_{1/2}: small x keep their relative
// precision.
double small_quantile(double p, double a, double b) {
  double low = 0.0;
  double high = 0.5;
  double x = std::exp((std::log(p) + std::log(a) + log_beta(a, b)) / a);  // exact in the limit x -> 0
  for (int iteration = 0; iteration < 200; ++iteration) {
    if (!(x > low && x < high)) {
      x = 0.5 * (low + high);
    }
    const double error = regularised(x, a, b) - p;
    (error < 0 ? low : high) = x;
    const double density = std::exp((a - 1) * std::log(x) + (b - 1) * std::log1p(-x) - log_beta(a, b));
    const double next = x - error / density;
    if (std::fabs(next - x) <= 1e-15 * x) {
      return next;
    }
    x = next;
  }
  return x;
}

}  // namespace

double beta_quantile(double p, double a, double b) {
  if (p <= 0.0) {
    return 0.0;
  }
  if (p >= 1.0) {
    return 1.0;
  }
  const double half = regularised(0.5, a, b);
  if (p == half) {
    return 0.5;
  }
  return p < half ? small_quantile(p, a, b) : 1.0 - small_quantile(1.0 - p, b, a);
}

}  // namespace t2v::sampling
