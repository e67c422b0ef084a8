// Element-wise mathematics: Exp, Sqrt, Neg, Abs, Erf, rounding, trigonometry.
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/unary.h"
#include "octet/numerics_functions.h"

namespace octet::graph::ops {
namespace {

struct Exp {
  explicit Exp(const Node&) {}
  float operator()(float x) const { return numerics::exp(x); }
  double operator()(double x) const { return std::exp(x); }
};
struct Erf {
  explicit Erf(const Node&) {}
  float operator()(float x) const { return numerics::erf(x); }
  double operator()(double x) const { return std::erf(x); }
};
struct Sqrt {
  explicit Sqrt(const Node&) {}
  template <class T>
  T operator()(T x) const {
    return std::sqrt(x);
  }
};
struct Reciprocal {
  explicit Reciprocal(const Node&) {}
  template <class T>
  T operator()(T x) const {
    return T{1} / x;
  }
};
struct Neg {
  explicit Neg(const Node&) {}
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_floating_point_v<T>) {
      return -x;
    } else {
      return static_cast<T>(uint64_t{0} - static_cast<uint64_t>(x));
    }
  }
};
struct Abs {
  explicit Abs(const Node&) {}
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fabs(x);
    } else {
      return x < T{0} ? static_cast<T>(uint64_t{0} - static_cast<uint64_t>(x)) : x;
    }
  }
};
struct Sign {
  explicit Sign(const Node&) {}
  template <class T>
  T operator()(T x) const {
    return static_cast<T>(x > T{0} ? 1 : x < T{0} ? -1 : 0);
  }
};
struct Floor {
  explicit Floor(const Node&) {}
  template <class T>
  T operator()(T x) const {
    return std::floor(x);
  }
};
struct Ceil {
  explicit Ceil(const Node&) {}
  template <class T>
  T operator()(T x) const {
    return std::ceil(x);
  }
};
struct Round {  // half to even
  explicit Round(const Node&) {}
  template <class T>
  T operator()(T x) const {
    return std::nearbyint(x);
  }
};

// Functions that the C library computes in double.
template <double (*G)(double)>
struct Library {
  explicit Library(const Node&) {}
  double operator()(double x) const { return G(x); }
};

OpDef function(std::string name, void (*infer)(InferContext&), void (*eval)(EvalContext&), TypeSet types) {
  return {.name = std::move(name),
          .inputs = {{"X"}},
          .attrs = {},
          .infer = infer,
          .eval = eval,
          .quant = QuantRole::unary,
          .layout = LayoutRole::any,
          .types = types};
}
template <class F>
OpDef real(std::string name) {
  return function(std::move(name), infer_like_input, eval_real<F>, kFloats);
}
template <double (*G)(double)>
OpDef library(std::string name) {
  return real<InDouble<Library<G>>>(std::move(name));
}

std::vector<OpDef> define() {
  return {
      real<Exp>("Exp"),
      real<Sqrt>("Sqrt"),
      real<Reciprocal>("Reciprocal"),
      function("Neg", infer_like_input, eval_number<Neg>, kSigned),
      function("Abs", infer_like_input, eval_number<Abs>, kNumbers),
      function("Sign", infer_like_input, eval_number<Sign>, kNumbers),
      real<Floor>("Floor"),
      real<Ceil>("Ceil"),
      real<Round>("Round"),
      real<Erf>("Erf"),
      library<std::log>("Log"),
      library<std::sin>("Sin"),
      library<std::cos>("Cos"),
      library<std::tan>("Tan"),
      library<std::asin>("Asin"),
      library<std::acos>("Acos"),
      library<std::atan>("Atan"),
      library<std::sinh>("Sinh"),
      library<std::cosh>("Cosh"),
      library<std::asinh>("Asinh"),
      library<std::acosh>("Acosh"),
      library<std::atanh>("Atanh"),
  };
}

}  // namespace

std::span<const OpDef> elementwise_unary_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
