// parallel_for over row blocks: items are handed out one by one to at most control.threads threads, the caller among them.
// The pool of threads lives as long as the process (greedy kernels call it thousands of times) and survives fork().
#pragma once
#include <cstdint>

namespace pyal {

// How a kernel runs. poll is called now and then on the calling thread; true asks the kernel to stop, and it then returns
// false with its outputs undefined. This is all that a kernel knows of Ctrl-C and progress bars.
struct Control {
  int threads;
  bool (*poll)(void* context, double fraction_done);
  void* context;
};

bool stop_requested(const Control& control, double fraction_done = -1);  // polls at most every 50 ms

// body(context, item, worker) for item in [0, items); worker < control.threads. False: stopped early.
bool parallel_run(const Control& control, int64_t items, void (*body)(void*, int64_t, int), void* context,
                  double fraction_before = -1, double fraction_after = -1);

namespace detail {
template <class F>
struct remove_reference {
  using type = F;
};
template <class F>
struct remove_reference<F&> {
  using type = F;
};
}  // namespace detail

template <class F>
bool parallel_for(const Control& control, int64_t items, F&& f, double fraction_before = -1,
                  double fraction_after = -1) {
  using Body = typename detail::remove_reference<F>::type;
  return parallel_run(
      control, items, [](void* context, int64_t item, int worker) { (*static_cast<Body*>(context))(item, worker); },
      const_cast<void*>(static_cast<const void*>(&f)),
      fraction_before, fraction_after);
}

// Bump allocator over the caller's scratch. With base == nullptr it only counts: a kernel lays its scratch out once, in one
// function, run with nullptr for the size and with the memory for the pointers.
namespace {  // kernels of every instruction set include this, and the linker must not merge their copies

class Arena {
 public:
  explicit Arena(void* base) : base_(static_cast<char*>(base)) {
    if (base_) base_ += (64 - reinterpret_cast<uintptr_t>(base_) % 64) % 64;
  }
  template <class V>
  V* take(int64_t count) {
    V* piece = base_ ? reinterpret_cast<V*>(base_ + used_) : nullptr;
    used_ += (count * static_cast<int64_t>(sizeof(V)) + 63) / 64 * 64;
    return piece;
  }
  int64_t bytes() const { return used_ + 64; }

 private:
  char* base_;
  int64_t used_ = 0;
};

}  // namespace

}  // namespace pyal
