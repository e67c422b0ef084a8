// How fast a decoder reads a prompt and writes on: models with a cache of open length, run by a session that keeps it.
#pragma once

#include <cstdint>

#include "octet/octet.h"
#include "tools/feed.h"
#include "tools/report.h"

namespace octet::tools {

bool has_open_cache(const Model& model);
// A prompt of 128 tokens and 64 new ones, one at a time, over and over for about `seconds`. Throws Error for an input that
// is neither tokens, positions, mask nor cache.
Decoding measure_decoding(const Model& model, int threads, double seconds);

}  // namespace octet::tools
