// The families of micro-benchmarks, registered by main in this order.
#pragma once

namespace octet::bench {

void register_products();     // product_bench.cpp: convolutions, depthwise ones too, and matrix products
void register_ops();          // ops_bench.cpp: kernels/ops.h
void register_weight_only();  // weight_only_bench.cpp: weights dequantized inside the kernel
void register_attention();    // attention_bench.cpp

}  // namespace octet::bench
