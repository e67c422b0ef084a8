#include "kernels/jit/cache.h"

#include <map>
#include <mutex>

#include "kernels/jit/assembler.h"

namespace octet::kernels {
namespace {

struct Slot {
  std::once_flag once;
  std::unique_ptr<const Code> code;
};

struct Cache {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<Slot>> slots;
};

Cache& cache() {
  static Cache instance;
  return instance;
}

}  // namespace

Code::Code(std::unique_ptr<Assembler> assembler) : assembler_(std::move(assembler)) {
  assembler_->ready(Xbyak::CodeArray::PROTECT_RE);
  entry_ = assembler_->getCode<void (*)()>();
  bytes_ = assembler_->getSize();
}

Code::~Code() = default;

std::shared_ptr<const Code> cached_code(const CodeKey& key, const std::function<std::unique_ptr<Assembler>()>& generate) {
  std::shared_ptr<Slot> slot;
  {
    const std::lock_guard lock(cache().mutex);
    std::weak_ptr<Slot>& known = cache().slots[key.text()];
    slot = known.lock();
    if (!slot) known = slot = std::make_shared<Slot>();
  }
  std::call_once(slot->once, [&] { slot->code = std::make_unique<const Code>(generate()); });
  return {slot, slot->code.get()};
}

size_t cached_code_count() {
  const std::lock_guard lock(cache().mutex);
  size_t alive = 0;
  for (auto it = cache().slots.begin(); it != cache().slots.end();) {
    alive += !it->second.expired();
    it = it->second.expired() ? cache().slots.erase(it) : std::next(it);
  }
  return alive;
}

}  // namespace octet::kernels
