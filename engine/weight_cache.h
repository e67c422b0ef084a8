// Packed weights, made once a model and shared by all its plans and sessions.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "graph/tensor.h"
#include "kernels/conv.h"

namespace octet {

class WeightCache {
 public:
  // `key` identifies the packing; `sources` are the constants it was made from, kept alive so that their addresses may be
  // part of the key.
  std::shared_ptr<const kernels::PackedWeights> get(
      const std::string& key, const std::vector<graph::Tensor>& sources,
      const std::function<std::shared_ptr<const kernels::PackedWeights>()>& make);
  // Lets go of what no plan uses any more.
  void drop_unused();
  size_t bytes() const;

 private:
  struct Entry {
    std::shared_ptr<const kernels::PackedWeights> packed;
    std::vector<graph::Tensor> sources;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

}  // namespace octet
