// NumPy's .npy files (format 1.0 to 3.0), as numpy.lib.format describes them: little-endian, C order.
#pragma once

#include <string>
#include <string_view>

#include "graph/tensor.h"

namespace octet::tools {

// Throws Error naming the file and what was expected; never allocates more than the file holds.
graph::Tensor read_npy(const std::string& path);
graph::Tensor parse_npy(std::string_view bytes, const std::string& path);

// bfloat16, which .npy cannot hold, is written as float32.
void write_npy(const std::string& path, const TensorView& value);

}  // namespace octet::tools
