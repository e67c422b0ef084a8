// Where of elements of 4 bytes.
//
// Registers: v0..v3 a and result, v4..v7 condition as float, v8 b, v10, v11 and v12 the row's a, b and condition where they
// are one element, v13 mask, v14 zero, v15 tail mask; rbx condition. Loop nest: run_loop.h.
#include "kernels/select.h"

#include <cassert>
#include <cstddef>

#include "kernels/jit/run_loop.h"

namespace octet::kernels {
namespace {

constexpr int kCondition = 4, kB = 8, kRowA = 10, kRowB = 11, kRowCondition = 12, kMask = 13, kZero = 14;
const Xbyak::Reg64 kConditionAt = Xbyak::util::rbx;

struct SelectForm {
  bool one_condition, one_a, one_b;  // an element a row
};

struct Call {
  RunArgs run;
  const uint8_t* condition;
  int64_t condition_stride;
};

void generate(VectorEmitter& e, const SelectForm& form) {
  const auto field = [&](size_t offset) { return e.qword[run::kArgs + offset]; };
  e.push(kConditionAt);
  e.zero(kZero);
  emit_rows(e, [&] {
    e.mov(kConditionAt, field(offsetof(Call, condition)));
    if (form.one_condition) {
      e.movzx(run::kScratch0.cvt32(), e.byte[kConditionAt]);
      e.vmovd(VectorEmitter::x(kRowCondition), run::kScratch0.cvt32());
      e.vpbroadcastd(e.v(kRowCondition), VectorEmitter::x(kRowCondition));
      e.vcvtdq2ps(e.v(kRowCondition), e.v(kRowCondition));
    }
    if (form.one_a) e.broadcast(e.v(kRowA), e.ptr[run::kA]);
    if (form.one_b) e.broadcast(e.v(kRowB), e.ptr[run::kB]);
    emit_columns(e, 4, [&](int vectors, bool tail) {
      for (int k = 0; k < vectors; ++k) {
        if (!form.one_condition) {
          load_u8(e, kCondition + k, kConditionAt, k, tail);
          e.vcvtdq2ps(e.v(kCondition + k), e.v(kCondition + k));
        }
        if (!form.one_a) load_f32(e, k, run::kA, k, tail);
        if (!form.one_b) load_f32(e, kB, run::kB, k, tail);
        e.select_less(e.v(k), e.v(kZero), e.v(form.one_condition ? kRowCondition : kCondition + k),
                      e.v(form.one_a ? kRowA : k), e.v(form.one_b ? kRowB : kB), e.v(kMask));
      }
      store_f32(e, vectors, tail);
    });
    e.mov(run::kScratch0, field(offsetof(Call, condition_stride)));
    e.add(field(offsetof(Call, condition)), run::kScratch0);
  });
  e.pop(kConditionAt);
  emit_return(e);
}

// Where a part of the work begins.
SelectArgs part_of(const SelectProblem& p, const SelectArgs& args, const RunRange& range) {
  const int64_t r = range.rows.begin, i = range.columns.begin;
  const auto words = [&](const void* v, int64_t outer, int64_t inner) {
    return static_cast<const uint32_t*>(v) + r * outer + i * inner;
  };
  return {args.condition + r * p.condition_outer + i * p.condition_inner, words(args.a, p.a_outer, p.a_inner),
          words(args.b, p.b_outer, p.b_inner), static_cast<uint32_t*>(args.y) + r * p.y_outer + i};
}

class VectorSelect final : public Select {
 public:
  VectorSelect(const Isa& isa, const SelectProblem& p) : name_("select " + std::string(isa.name)), p_(p) {
    const SelectForm form{p.condition_inner == 0, p.a_inner == 0, p.b_inner == 0};
    CodeKey key("select");
    key.add(form.one_condition).add(form.one_a).add(form.one_b);
    code_ = vector_code(isa, key, [&](VectorEmitter& e) { generate(e, form); });
  }

  void run(const SelectArgs& args, int part, int parts) const noexcept override {
    const RunRange range = split_runs(p_.rows, p_.length, part, parts);
    if (range.empty()) return;
    const SelectArgs mine = part_of(p_, args, range);
    Call call{};
    call.run.a = mine.a;
    call.run.b = mine.b;
    call.run.y = mine.y;
    call.run.rows = range.rows.size();
    call.run.length = range.columns.size();
    call.run.a_stride = p_.a_outer * 4;
    call.run.b_stride = p_.b_outer * 4;
    call.run.y_stride = p_.y_outer * 4;
    call.condition = mine.condition;
    call.condition_stride = p_.condition_outer;
    code_->entry<void (*)(Call*)>()(&call);
  }
  std::string name() const override { return name_; }

 private:
  std::string name_;
  SelectProblem p_;
  std::shared_ptr<const Code> code_;
};

class ReferenceSelect final : public Select {
 public:
  explicit ReferenceSelect(const SelectProblem& p) : p_(p) {}
  void run(const SelectArgs& args, int part, int parts) const noexcept override {
    const RunRange range = split_runs(p_.rows, p_.length, part, parts);
    if (range.empty()) return;
    SelectProblem mine = p_;
    mine.rows = range.rows.size();
    mine.length = range.columns.size();
    select_reference(mine, part_of(p_, args, range));
  }
  std::string name() const override { return "select reference"; }

 private:
  SelectProblem p_;
};

}  // namespace

std::unique_ptr<Select> make_select(const Isa& isa, const SelectProblem& problem) {
  for ([[maybe_unused]] const int64_t inner : {problem.condition_inner, problem.a_inner, problem.b_inner})
    assert(inner == 0 || inner == 1);
  if (isa.id == IsaId::reference) return std::make_unique<ReferenceSelect>(problem);
  return std::make_unique<VectorSelect>(isa, problem);
}

}  // namespace octet::kernels
