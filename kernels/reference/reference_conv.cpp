#include "kernels/reference/reference_conv.h"

#include <cstring>
#include <vector>

#include "kernels/packed_weights.h"

namespace octet::kernels {
namespace {

struct ReferenceWeights {
  ConvWeights weights;
  std::vector<float> storage;  // aligned for either type
  std::vector<int32_t> zero_points, bias;
};

class ReferenceConv final : public Conv {
 public:
  ReferenceConv(const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights)
      : problem_(problem), packed_(std::move(weights)) {}
  void run(const ConvArgs& args, int part, int /*parts*/) const noexcept override {
    if (part == 0) conv_reference(problem_, packed_->as<ReferenceWeights>().weights, args);
  }
  std::string name() const override { return "conv reference"; }

 private:
  const ConvProblem problem_;
  const std::shared_ptr<const PackedWeights> packed_;
};

}  // namespace

std::shared_ptr<const PackedWeights> pack_reference(const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  auto packed = std::make_shared<PackedWeights>(start_packing(isa, shape, weights));
  auto copy = std::make_shared<ReferenceWeights>();
  const size_t bytes =
      static_cast<size_t>(shape.oc * (shape.ic / shape.groups) * shape.kh * shape.kw) * size_of(weights.dtype);
  copy->storage.resize((bytes + 3) / 4);
  std::memcpy(copy->storage.data(), weights.data, bytes);
  copy->zero_points.assign(weights.zero_points.begin(), weights.zero_points.end());
  copy->bias.assign(weights.bias.begin(), weights.bias.end());
  copy->weights = weights;
  copy->weights.data = copy->storage.data();
  copy->weights.zero_points = copy->zero_points;
  copy->weights.bias = copy->bias;
  packed->kind = PackedKind::reference;
  packed->bytes = bytes;
  packed->description = "as given";
  packed->payload = std::move(copy);
  return packed;
}

std::unique_ptr<Conv> make_reference_conv(const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights) {
  return std::make_unique<ReferenceConv>(problem, std::move(weights));
}

}  // namespace octet::kernels
