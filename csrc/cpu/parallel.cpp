#include "parallel.hpp"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace pyal {
namespace {

using Clock = std::chrono::steady_clock;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// One job at a time. Workers spin for a moment before they sleep: a greedy kernel's next job comes within microseconds,
// and waking a sleeping thread takes longer than many of these jobs do.
class Pool {
 public:
  std::mutex busy;

  void run(int threads, int64_t items, void (*body)(void*, int64_t, int), void* context, const Control& control,
           double before, double after, bool& stopped) {
    const int helpers = grow(threads - 1);
    body_ = body;
    context_ = context;
    items_ = items;
    stop_.store(false, std::memory_order_relaxed);
    next_.store(0, std::memory_order_relaxed);
    finished_.store(0, std::memory_order_relaxed);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (int h = 0; h < helpers; ++h) jobs_[h].fetch_add(1, std::memory_order_release);
    }
    if (sleeping_.load(std::memory_order_seq_cst) > 0) wake_.notify_all();
    for (;;) {
      const int64_t item = next_.fetch_add(1, std::memory_order_relaxed);
      if (item >= items) break;
      body(context, item, 0);
      const double done = before < 0 ? -1 : before + (after - before) * double(item + 1) / double(items);
      if (stop_requested(control, done)) {
        stop_.store(true, std::memory_order_relaxed);
        stopped = true;
        break;
      }
    }
    for (int64_t spins = 0; finished_.load(std::memory_order_acquire) < helpers; ++spins) {
      relax();
      if (spins < 2000) continue;
      std::this_thread::yield();
      if (!stopped && stop_requested(control)) {
        stop_.store(true, std::memory_order_relaxed);
        stopped = true;
      }
    }
  }

 private:
  static constexpr int max_helpers = 255;

  int grow(int helpers) {
    if (helpers > max_helpers) helpers = max_helpers;
    try {
      for (; started_ < helpers; ++started_) std::thread(&Pool::work, this, started_).detach();
    } catch (const std::system_error&) {
      return started_ < helpers ? started_ : helpers;  // no more threads to be had: work with those there are
    }
    return helpers;
  }

  // Each helper counts its own jobs, so one that was not asked for the last job cannot mistake the next one's.
  void work(int self) {
    for (int64_t done = 0;; ++done) {
      for (int spins = 0; jobs_[self].load(std::memory_order_acquire) == done; ++spins) {
        if (spins < 4000) {
          relax();
          continue;
        }
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return jobs_[self].load(std::memory_order_acquire) != done; });
        sleeping_.fetch_sub(1, std::memory_order_seq_cst);
      }
      while (!stop_.load(std::memory_order_relaxed)) {
        const int64_t item = next_.fetch_add(1, std::memory_order_relaxed);
        if (item >= items_) break;
        body_(context_, item, self + 1);
      }
      finished_.fetch_add(1, std::memory_order_release);
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleeping_{0};
  std::atomic<int64_t> jobs_[max_helpers] = {};
  std::atomic<int64_t> next_{0};
  std::atomic<int> finished_{0};
  std::atomic<bool> stop_{false};
  void (*body_)(void*, int64_t, int) = nullptr;
  void* context_ = nullptr;
  int64_t items_ = 0;
  int started_ = 0;
};

// The pool is never destroyed: its threads are detached and sleep. After fork() the child has none of them and starts with
// a new pool.
std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); });
  (void)registered;
  Pool* current = pool.load();
  if (!current) {
    Pool* fresh = new Pool;
    if (pool.compare_exchange_strong(current, fresh)) return *fresh;
    delete fresh;
  }
  return *current;
}

}  // namespace

bool stop_requested(const Control& control, double fraction_done) {
  // Polls from inside an item know no fraction, and must not keep those that do from telling it.
  thread_local Clock::time_point without = Clock::now(), with = without;
  Clock::time_point& last = fraction_done < 0 ? without : with;
  if (!control.poll) return false;
  const Clock::time_point now = Clock::now();
  if (now - last < std::chrono::milliseconds(50)) return false;
  last = now;
  return control.poll(control.context, fraction_done);
}

bool parallel_run(const Control& control, int64_t items, void (*body)(void*, int64_t, int), void* context, double before,
                  double after) {
  bool stopped = false;
  const int threads = static_cast<int>(control.threads < items ? control.threads : items);
  if (threads > 1) {
    Pool& shared = the_pool();
    // Another Python thread is inside a kernel: work alone rather than wait, the answer is the same.
    std::unique_lock<std::mutex> lock(shared.busy, std::try_to_lock);
    if (lock.owns_lock()) {
      shared.run(threads, items, body, context, control, before, after, stopped);
      return !stopped;
    }
  }
  for (int64_t item = 0; item < items; ++item) {
    body(context, item, 0);
    if (stop_requested(control, before < 0 ? -1 : before + (after - before) * double(item + 1) / double(items)))
      return false;
  }
  return true;
}

}  // namespace pyal
