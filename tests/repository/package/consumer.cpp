// The README's example: prints the most likely class of an input of zeros.
#include <octet/octet.h>

#include <algorithm>
#include <cstdio>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    octet::Model model = octet::Model::load(argv[1]);
    octet::Session session(model, {.threads = 1});
    const octet::ValueInfo& x = model.inputs()[0];
    octet::Shape shape = x.shape;
    for (int64_t& d : shape) d = std::max<int64_t>(d, 1);
    std::vector<float> data(static_cast<size_t>(octet::element_count(shape)), 0.0f);
    session.set_input(x.name, {data.data(), octet::DType::f32, shape});
    session.run();
    const octet::TensorView y = session.output(0);
    const float* scores = y.as<float>();
    std::printf("class %td on %s\n", std::max_element(scores, scores + octet::element_count(y.shape)) - scores,
                model.isa().data());
    return 0;
  } catch (const octet::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
