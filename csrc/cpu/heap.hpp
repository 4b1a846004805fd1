// Max-heap of (bound, position), ties to the lower position: the order in which a lazy greedy kernel looks at rows.
#pragma once
#include <cstdint>

namespace pyal {
namespace {

template <class V>
struct HeapEntry {
  V bound;
  int64_t position;
};

template <class V>
inline bool before(const HeapEntry<V>& a, const HeapEntry<V>& b) {
  return a.bound > b.bound || (a.bound == b.bound && a.position < b.position);
}

template <class V>
class Heap {
 public:
  Heap(HeapEntry<V>* entries, int64_t size) : entries_(entries), size_(size) {
    for (int64_t i = size / 2 - 1; i >= 0; --i) sink(i);
  }
  int64_t size() const { return size_; }
  const HeapEntry<V>& top() const { return entries_[0]; }
  void pop() {
    entries_[0] = entries_[--size_];
    if (size_ > 0) sink(0);
  }
  void push(HeapEntry<V> entry) {
    int64_t at = size_++;
    for (; at > 0; at = (at - 1) / 2) {
      if (!before(entry, entries_[(at - 1) / 2])) break;
      entries_[at] = entries_[(at - 1) / 2];
    }
    entries_[at] = entry;
  }

 private:
  void sink(int64_t at) {
    const HeapEntry<V> entry = entries_[at];
    for (int64_t child; (child = 2 * at + 1) < size_; at = child) {
      if (child + 1 < size_ && before(entries_[child + 1], entries_[child])) ++child;
      if (!before(entries_[child], entry)) break;
      entries_[at] = entries_[child];
    }
    entries_[at] = entry;
  }

  HeapEntry<V>* entries_;
  int64_t size_;
};

}  // namespace
}  // namespace pyal
