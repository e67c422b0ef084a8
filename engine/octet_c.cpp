#include "octet/octet_c.h"

#include <map>
#include <new>
#include <string>

#include "octet/octet.h"

static_assert(static_cast<int>(octet::DType::f32) == OCTET_FLOAT32 && static_cast<int>(octet::DType::s8) == OCTET_INT8 &&
              static_cast<int>(octet::DType::s64) == OCTET_INT64 && static_cast<int>(octet::DType::string) == OCTET_STRING);

struct octet_model {
  octet::Model model;
};

struct octet_session {
  octet::Session session;
  std::map<std::string, octet::Shape, std::less<>> shapes;  // of the outputs handed out
};

namespace {

thread_local std::string last_error;

octet_status status_of(octet::ErrorCode code) {
  switch (code) {
    case octet::ErrorCode::invalid_argument: return OCTET_INVALID_ARGUMENT;
    case octet::ErrorCode::invalid_model: return OCTET_INVALID_MODEL;
    case octet::ErrorCode::unsupported: return OCTET_UNSUPPORTED;
    case octet::ErrorCode::io: return OCTET_IO;
  }
  return OCTET_INTERNAL;
}

octet_status fail(octet_status status, const char* message) noexcept {
  try {
    last_error = message;
  } catch (...) {
    last_error.clear();
  }
  return status;
}

template <class Work>
octet_status guarded(Work work) noexcept {
  try {
    work();
    return OCTET_OK;
  } catch (const octet::Error& e) {
    return fail(status_of(e.code()), e.what());
  } catch (const std::bad_alloc&) {
    return fail(OCTET_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return fail(OCTET_INTERNAL, e.what());
  } catch (...) {
    return fail(OCTET_INTERNAL, "unknown exception");
  }
}

void expect(const void* pointer, const char* what) {
  if (!pointer) throw octet::Error(octet::ErrorCode::invalid_argument, std::string(what) + " is NULL");
}

octet_status describe(const std::vector<octet::ValueInfo>& values, const char* what, size_t index, octet_value_info* info) {
  return guarded([&] {
    expect(info, "info");
    if (index >= values.size())
      throw octet::Error(octet::ErrorCode::invalid_argument, std::string(what) + " " + std::to_string(index) +
                                                                 " does not exist; the model has " +
                                                                 std::to_string(values.size()));
    const octet::ValueInfo& v = values[index];
    *info = {v.name.c_str(), static_cast<octet_dtype>(v.dtype), v.shape.size(), v.shape.data()};
  });
}

}  // namespace

extern "C" {

const char* octet_version(void) {
  static const std::string text(octet::version());
  return text.c_str();
}

const char* octet_last_error(void) { return last_error.c_str(); }

octet_status octet_model_load(const char* path, const char* isa, octet_model** model) {
  return guarded([&] {
    expect(path, "path");
    expect(model, "model");
    *model = new octet_model{octet::Model::load(path, {isa ? isa : "", {}})};
  });
}

void octet_model_free(octet_model* model) { delete model; }
const char* octet_model_isa(const octet_model* model) { return model->model.isa().data(); }
size_t octet_model_input_count(const octet_model* model) { return model->model.inputs().size(); }
size_t octet_model_output_count(const octet_model* model) { return model->model.outputs().size(); }

octet_status octet_model_input(const octet_model* model, size_t index, octet_value_info* info) {
  return describe(model->model.inputs(), "input", index, info);
}

octet_status octet_model_output(const octet_model* model, size_t index, octet_value_info* info) {
  return describe(model->model.outputs(), "output", index, info);
}

octet_status octet_session_create(const octet_model* model, int threads, octet_session** session) {
  const octet_session_options options{threads, 0, 0};
  return octet_session_create_with(model, &options, session);
}

octet_status octet_session_create_with(const octet_model* model, const octet_session_options* given,
                                       octet_session** session) {
  return guarded([&] {
    expect(model, "model");
    expect(session, "session");
    octet::SessionOptions options;
    if (given) {
      if (given->threads < 0)
        throw octet::Error(octet::ErrorCode::invalid_argument,
                           "threads is " + std::to_string(given->threads) + ", expected at least 0");
      options.threads = given->threads;
      options.profile = given->profile != 0;
      options.keep_cache = given->keep_cache != 0;
    }
    *session = new octet_session{octet::Session(model->model, options), {}};
  });
}

void octet_session_free(octet_session* session) { delete session; }

octet_status octet_cache_length(const octet_session* session, int64_t* length) {
  return guarded([&] {
    expect(session, "session");
    expect(length, "length");
    *length = session->session.cache_length();
  });
}

octet_status octet_set_cache_length(octet_session* session, int64_t length) {
  return guarded([&] {
    expect(session, "session");
    session->session.set_cache_length(length);
  });
}

octet_status octet_set_input(octet_session* session, const char* name, const octet_tensor* value) {
  return guarded([&] {
    expect(session, "session");
    expect(name, "name");
    expect(value, "value");
    if (value->rank > 0) expect(value->shape, "shape");
    octet::TensorView view{value->data, static_cast<octet::DType>(value->dtype), {}};
    view.shape.assign(value->shape, value->shape + value->rank);
    if (octet::element_count(view.shape) > 0) expect(value->data, "data");
    session->session.set_input(name, view);
  });
}

octet_status octet_run(octet_session* session) {
  return guarded([&] {
    expect(session, "session");
    session->session.run();
  });
}

octet_status octet_get_output(octet_session* session, const char* name, octet_tensor* value) {
  return guarded([&] {
    expect(session, "session");
    expect(name, "name");
    expect(value, "value");
    const octet::TensorView view = session->session.output(name);
    octet::Shape& shape = session->shapes[name];
    shape = view.shape;
    *value = {view.data, static_cast<octet_dtype>(view.dtype), shape.size(), shape.data()};
  });
}

}  // extern "C"
