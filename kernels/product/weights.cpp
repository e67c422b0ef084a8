#include "kernels/product/weights.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstring>

namespace octet::kernels {
namespace {

constexpr int kMaxPlanes = 3;  // 255 = 127 + 127 + 1

bool is_plain(const ConvWeights& weights);

ProductKind kind_of(const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  if (weights.dtype == DType::f32) return ProductKind::fma;
  if (takes_words(isa, shape) && is_plain(weights)) return ProductKind::words;
  return isa.dot == DotKind::maddubs ? ProductKind::bins : ProductKind::dot;
}

// Where the elements of k-groups come from: source[g * width + i] is an index into [ic/groups][kh][kw], or -1 for a zero.
struct GroupMap {
  std::vector<KGroup> groups;
  std::vector<int32_t> source;
  bool identity = false;  // source[i] == i
};

GroupMap map_groups(const ConvShape& s, int width, bool touching) {
  GroupMap map;
  const int64_t channels = s.ic / s.groups;
  const int64_t run = touching ? s.kw * channels : channels, runs = touching ? 1 : s.kw;
  for (int64_t ky = 0; ky < s.kh; ++ky)
    for (int64_t r = 0; r < runs; ++r)
      for (int64_t j = 0; j < run; j += width) {
        map.groups.push_back(
            {static_cast<int32_t>(ky), static_cast<int32_t>(r + j / channels), static_cast<int32_t>(j % channels)});
        for (int64_t i = j; i < j + width; ++i)
          map.source.push_back(i >= run ? -1 : static_cast<int32_t>((i % channels * s.kh + ky) * s.kw + r + i / channels));
      }
  map.identity = s.kh * s.kw == 1 && channels % width == 0;
  return map;
}

// Whether every weight is s8 as it stands.
bool is_plain(const ConvWeights& weights) {
  return weights.dtype == DType::s8 &&
         std::all_of(weights.zero_points.begin(), weights.zero_points.end(), [](int32_t zero) { return zero == 0; });
}

// One panel's weights by k-group: [plane][group][column][4] s8, of which `planes` are in use.
class PanelBytes {
 public:
  PanelBytes(const ConvShape& shape, const ConvWeights& weights, const GroupMap& map)
      : reader_(shape, weights), map_(map), raw_(static_cast<const uint8_t*>(weights.data)), plain_(is_plain(weights)) {}

  void gather(int64_t channel, int valid, int columns) {
    columns_ = static_cast<size_t>(columns);
    plane_bytes_ = map_.groups.size() * columns_ * 4;
    bytes_.assign(plane_bytes_, 0);
    planes_ = 1;
    for (int n = 0; n < valid; ++n) plain_ ? gather_plain(channel + n, n) : gather_any(channel + n, n);
  }

  const int8_t* data() const { return bytes_.data(); }
  size_t groups() const { return static_cast<size_t>(planes_) * map_.groups.size(); }
  bool is_zero(size_t group) const {
    const int8_t* from = data() + group * columns_ * 4;
    return std::all_of(from, from + columns_ * 4, [](int8_t w) { return w == 0; });
  }

 private:
  void gather_plain(int64_t channel, int n) {
    const uint8_t* from = raw_ + channel * reader_.per_channel();
    int8_t* to = bytes_.data() + 4 * n;
    const size_t stride = columns_ * 4, groups = map_.groups.size();
    if (map_.identity) {
      for (size_t g = 0; g < groups; ++g) std::memcpy(to + g * stride, from + 4 * g, 4);
      return;
    }
    const int32_t* source = map_.source.data();
    for (size_t g = 0; g < groups; ++g, to += stride, source += 4)
      for (int i = 0; i < 4; ++i)
        if (source[i] >= 0) to[i] = static_cast<int8_t>(from[source[i]]);
  }

  void gather_any(int64_t channel, int n) {
    for (size_t i = 0; i < map_.source.size(); ++i) {
      if (map_.source[i] < 0) continue;
      int32_t rest = reader_.at(channel, map_.source[i]);
      for (int plane = 0; rest != 0; ++plane) {
        assert(plane < kMaxPlanes);
        if (plane == planes_) {
          ++planes_;
          bytes_.resize(static_cast<size_t>(planes_) * plane_bytes_, 0);
        }
        const int32_t part = std::clamp(rest, -128, 127);
        bytes_[static_cast<size_t>(plane) * plane_bytes_ + i / 4 * columns_ * 4 + static_cast<size_t>(4 * n) + i % 4] =
            static_cast<int8_t>(part);
        rest -= part;
      }
    }
  }

  IntegerWeightReader reader_;
  const GroupMap& map_;
  const uint8_t* raw_;
  bool plain_;
  size_t columns_ = 0, plane_bytes_ = 0;
  int planes_ = 1;
  std::vector<int8_t> bytes_;
};

// Panels of a convolution, without programs and contents.
std::vector<Panel> cut_panels(const Isa& isa, ProductKind kind, const ConvShape& s) {
  std::vector<Panel> panels;
  const int64_t columns = s.oc / s.groups;
  for (int64_t group = 0; group < s.groups; ++group)
    for (int64_t n = 0; n < columns;) {
      const int64_t rest = columns - n;
      Panel panel{group, group * columns + n, 0, 1, 0, 0};
      if (kind == ProductKind::words) {
        panel.vectors = rest > isa.lanes() && (isa.zmm() || s.n * s.oh * s.ow == 1) ? 2 : 1;  // 16 registers
      } else if (kind != ProductKind::bins) {
        const bool wide = s.kh * s.kw == 1 && rest >= 64;
        panel.vectors = !isa.zmm() ? 2 : wide ? 4 : rest > 16 ? 2 : 1;
      }
      panel.columns = static_cast<int>(std::min<int64_t>(rest, panel.vectors * isa.lanes()));
      n += panel.columns;
      panels.push_back(panel);
    }
  return panels;
}

struct Statistics {
  size_t groups = 0, x_groups = 0, bins = 0;
};

// Packed bytes in order. The capacity is an upper bound; memory behind the last byte is never touched.
class PackedBytes {
 public:
  explicit PackedBytes(size_t capacity) : buffer_(AlignedBuffer::for_overwrite(capacity)) {}
  void append(const void* from, size_t bytes) {
    assert(used_ + bytes <= buffer_.bytes());
    if (bytes) std::memcpy(buffer_.as<int8_t>() + used_, from, bytes);
    used_ += bytes;
  }
  size_t used() const { return used_; }
  AlignedBuffer take() { return std::move(buffer_); }

 private:
  AlignedBuffer buffer_;
  size_t used_ = 0;
};

void pack_bins(ProductForm& form, PanelBytes& bytes, const Isa& isa, Statistics& statistics, PackedBytes& b) {
  const size_t natural = form.groups.size();
  for (Panel& panel : form.panels) {
    bytes.gather(panel.channel, panel.columns, isa.lanes());
    BinnedPanel binned = bin_panel(bytes.data(), bytes.groups(), isa.lanes());
    for (uint32_t& g : binned.order) g %= static_cast<uint32_t>(natural);
    for (int n = 0; n < panel.columns; ++n) {
      int32_t& bias = form.bias[static_cast<size_t>(panel.channel + n)];
      bias = static_cast<int32_t>(static_cast<uint32_t>(bias) + static_cast<uint32_t>(binned.bias[static_cast<size_t>(n)]));
    }
    statistics.groups += binned.order.size();
    statistics.x_groups += binned.x_groups;
    for (const BinRun& run : binned.runs) statistics.bins += static_cast<size_t>(run.count);
    binned.runs.push_back(kEndOfRuns);
    panel.program = form.programs.size();
    panel.b_offset = b.used();
    form.programs.push_back({std::move(binned.order), std::move(binned.runs)});
    b.append(binned.b.data(), binned.b.size());
  }
}

Program natural_program(size_t groups) {
  Program program{std::vector<uint32_t>(groups), {{0, static_cast<int32_t>(groups)}, kEndOfRuns}};
  for (size_t g = 0; g < groups; ++g) program.groups[g] = static_cast<uint32_t>(g);
  return program;
}

void pack_dots(ProductForm& form, PanelBytes& bytes, const Isa& isa, Statistics& statistics, PackedBytes& b) {
  const size_t natural = form.groups.size();
  form.programs.push_back(natural_program(natural));
  for (Panel& panel : form.panels) {
    const int columns = panel.vectors * isa.lanes();
    bytes.gather(panel.channel, panel.columns, columns);
    const size_t group_bytes = static_cast<size_t>(columns) * 4;
    panel.b_offset = b.used();
    b.append(bytes.data(), natural * group_bytes);
    Program program = form.programs[0];
    for (size_t g = natural; g < bytes.groups(); ++g) {
      if (bytes.is_zero(g)) continue;
      program.groups.push_back(static_cast<uint32_t>(g % natural));
      ++program.runs[0].count;
      b.append(bytes.data() + g * group_bytes, group_bytes);
    }
    statistics.groups += program.groups.size();
    if (program.groups.size() == natural) continue;
    panel.program = form.programs.size();
    form.programs.push_back(std::move(program));
  }
}

// Of every vector of columns first those whose sums a vpmaddwd leaves in the low halves, as words_loop.cpp joins them.
void pack_words(ProductForm& form, PanelBytes& bytes, const Isa& isa, Statistics& statistics, PackedBytes& b) {
  const size_t groups = form.groups.size();
  form.programs.push_back(natural_program(groups));
  std::vector<int8_t> ordered;
  for (Panel& panel : form.panels) {
    const int columns = panel.vectors * isa.lanes();
    bytes.gather(panel.channel, panel.columns, columns);
    assert(bytes.groups() == groups);
    ordered.resize(groups * static_cast<size_t>(columns) * 4);
    int8_t* to = ordered.data();
    for (size_t g = 0; g < groups; ++g)
      for (int vector = 0; vector < panel.vectors; ++vector)
        for (const int half : {0, 2})
          for (int lane = 0; lane < isa.lanes(); lane += 4, to += 8) {
            const int column = vector * isa.lanes() + lane + half;
            std::memcpy(to, bytes.data() + (g * static_cast<size_t>(columns) + static_cast<size_t>(column)) * 4, 8);
          }
    panel.b_offset = b.used();
    b.append(ordered.data(), ordered.size());
  }
  statistics.groups += groups * form.panels.size();
}

void pack_floats(ProductForm& form, const GroupMap& map, const ConvWeights& weights, const Isa& isa, PackedBytes& b) {
  const size_t groups = form.groups.size();
  form.programs.push_back(natural_program(groups));
  std::vector<float> panel_weights;
  for (Panel& panel : form.panels) {
    const size_t columns = static_cast<size_t>(panel.vectors * isa.lanes());
    panel_weights.assign(groups * columns, 0.0f);
    for (int n = 0; n < panel.columns; ++n) {
      const float* from = static_cast<const float*>(weights.data) + (panel.channel + n) * static_cast<int64_t>(groups);
      for (size_t g = 0; g < groups; ++g) panel_weights[g * columns + static_cast<size_t>(n)] = from[map.source[g]];
    }
    panel.b_offset = b.used();
    b.append(panel_weights.data(), panel_weights.size() * sizeof(float));
  }
}

std::string describe_packing(ProductKind kind, const Statistics& s, const std::vector<Panel>& panels, const Isa& isa) {
  char text[96];
  if (kind == ProductKind::bins) {
    const double groups = static_cast<double>(std::max<size_t>(1, s.groups));
    std::snprintf(text, sizeof text, "bins: %.2f uops a group, %.0f %% xor",
                  static_cast<double>(2 * s.groups + s.x_groups + s.bins) / groups,
                  100.0 * static_cast<double>(s.x_groups) / groups);
  } else {
    std::snprintf(text, sizeof text, "panels of %d", panels.front().vectors * isa.lanes());
  }
  return text;
}

// What the panels can take: every group in X mode needs two vectors, and weights beyond s8 more planes.
size_t most_bytes(const Isa& isa, ProductKind kind, const ProductForm& form, DType dtype, bool plain) {
  size_t vectors = 0;
  for (const Panel& panel : form.panels) vectors += static_cast<size_t>(panel.vectors) * form.groups.size();
  if (kind == ProductKind::bins) vectors *= 2;
  if (dtype != DType::f32 && !plain) vectors *= kMaxPlanes;
  return vectors * static_cast<size_t>(isa.vector_bytes);
}

ProductForm pack_form(const Isa& isa, const ConvShape& shape, const ConvWeights& weights, ProductKind kind, bool touching,
                      const IntegerFacts& facts, std::string* description) {
  ProductForm form;
  const GroupMap map = map_groups(shape, kind == ProductKind::fma ? 1 : 4, touching);
  form.needs_touching_pixels = touching;
  form.groups = map.groups;
  form.panels = cut_panels(isa, kind, shape);
  form.bias = facts.bias;
  PackedBytes b(most_bytes(isa, kind, form, weights.dtype, is_plain(weights)));
  Statistics statistics;
  if (kind == ProductKind::fma) {
    pack_floats(form, map, weights, isa, b);
  } else {
    PanelBytes bytes(shape, weights, map);
    if (kind == ProductKind::bins)
      pack_bins(form, bytes, isa, statistics, b);
    else if (kind == ProductKind::words)
      pack_words(form, bytes, isa, statistics, b);
    else
      pack_dots(form, bytes, isa, statistics, b);
  }
  form.b_bytes = b.used();
  form.b = b.take();
  *description = describe_packing(kind, statistics, form.panels, isa);
  return form;
}

size_t form_bytes(const ProductForm& form) {
  size_t bytes = form.b_bytes + form.panels.size() * sizeof(Panel) + form.groups.size() * sizeof(KGroup);
  for (const Program& program : form.programs) bytes += program.groups.size() * sizeof(uint32_t);
  return bytes;
}

}  // namespace

bool takes_words(const Isa& isa, const ConvShape& s) {
  const bool one_tap =
      s.kh * s.kw == 1 && s.groups == 1 && s.stride_h * s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0;
  return isa.dot == DotKind::maddubs && one_tap && s.n * s.oh * s.ow <= 2;
}

int max_block_rows(const Isa& isa, ProductKind kind, int vectors) {
  if (kind == ProductKind::words) return 2;
  if (kind == ProductKind::bins) return isa.zmm() ? 16 : 8;
  if (!isa.zmm()) return vectors == 1 ? 12 : 6;
  return vectors == 1 ? 28 : vectors == 2 ? 14 : 6;
}

std::shared_ptr<const PackedWeights> pack_product(const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  auto packed = std::make_shared<PackedWeights>(start_packing(isa, shape, weights));
  auto product = std::make_shared<ProductWeights>();
  product->kind = kind_of(isa, shape, weights);
  const int64_t channels = shape.ic / shape.groups;
  const bool runs_across =
      product->kind != ProductKind::fma && shape.groups == 1 && channels % 4 != 0 && shape.kw > 1 && shape.dilation_w == 1;
  std::string unused;
  if (runs_across)
    product->forms.push_back(pack_form(isa, shape, weights, product->kind, true, packed->facts, &packed->description));
  product->forms.push_back(
      pack_form(isa, shape, weights, product->kind, false, packed->facts, runs_across ? &unused : &packed->description));
  packed->kind = PackedKind::product;
  for (const ProductForm& form : product->forms) packed->bytes += form_bytes(form);
  packed->payload = std::move(product);
  return packed;
}

}  // namespace octet::kernels
