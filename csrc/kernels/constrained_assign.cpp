// Blocks of the order: all sqdists of a block in parallel, then the greedy pass over it by one thread.
#include "constrained_assign.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/tiles.hpp"

namespace pyal::cpu {
namespace {

constexpr int64_t block = 1024, item_rows = 16;  // points of a block, of a work item
constexpr int64_t no_colour = -1;

template <class T>
struct Layout {
  compute_t<T>* sqdists;     // (block, k)
  int64_t* center_colour;    // (k,)
  int64_t* barred_by;        // (k,) the last point that a conflict kept off the centre
  uint8_t* has_center;       // (n_colours,)
  int64_t* found;            // (n,) the new assignment
  uint8_t* given_up;         // (n,) its relaxed points
  int64_t free_centers;      // without a colour
  int64_t waiting;           // colours without a centre
  int64_t more_relaxed = 0;  // points, than in the last call
  double cost = 0, cost_before = 0;

  Layout(const ConstrainedAssignParams<T>& p, Arena& arena)
      : sqdists(arena.take<compute_t<T>>(at_most(block, p.X.rows) * p.k)),
        center_colour(arena.take<int64_t>(p.k)),
        barred_by(arena.take<int64_t>(p.k)),
        has_center(arena.take<uint8_t>(p.n_colours)),
        found(arena.take<int64_t>(p.X.rows)),
        given_up(arena.take<uint8_t>(p.X.rows)),
        free_centers(p.k),
        waiting(p.n_colours) {}

  void begin(const ConstrainedAssignParams<T>& p) {
    for (int64_t c = 0; c < p.k; ++c) center_colour[c] = no_colour;
    for (int64_t c = 0; c < p.k; ++c) barred_by[c] = -1;
    for (int64_t q = 0; q < p.n_colours; ++q) has_center[q] = 0;
    for (int64_t g = 0; g < p.X.rows; ++g) found[g] = -1;
  }
};

template <class T>
void sqdists_of(const ConstrainedAssignParams<T>& p, int64_t g, compute_t<T>* out) {
  const int64_t d = p.X.cols;
  int64_t c = 0;
  for (; c + 4 <= p.k; c += 4) {  // the point is read once for four centres
    const int64_t four[4] = {c, c + 1, c + 2, c + 3};
    sqdist4(plain(p.centers, p.k, d), four, row(p.X, g), d, out + c);
  }
  for (; c < p.k; ++c) out[c] = sqdist(row(p.X, g), plain(p.centers + c * d), d);
}

template <class T>
void place(const ConstrainedAssignParams<T>& p, Layout<T>& s, int64_t g, const compute_t<T>* sqdists) {
  const int64_t colour = p.colour ? p.colour[g] : no_colour;
  const bool may_take_free = colour >= 0 && (!s.has_center[colour] || s.free_centers > s.waiting);
  for (int64_t e = p.conflict_start ? p.conflict_start[g] : 0; p.conflict_start && e < p.conflict_start[g + 1]; ++e) {
    const int64_t at = s.found[p.conflicts[e]];
    if (at >= 0) s.barred_by[at] = g;
  }
  int64_t nearest = 0, feasible = -1;
  for (int64_t c = 0; c < p.k; ++c) {
    if (sqdists[c] < sqdists[nearest]) nearest = c;
    if (s.barred_by[c] == g || (feasible >= 0 && !(sqdists[c] < sqdists[feasible]))) continue;
    if (colour < 0 || s.center_colour[c] == colour || (may_take_free && s.center_colour[c] == no_colour)) feasible = c;
  }
  s.given_up[g] = feasible < 0;
  s.found[g] = feasible < 0 ? nearest : feasible;
  s.cost += p.weight[g] * static_cast<double>(sqdists[s.found[g]]);
  if (p.again) {
    s.more_relaxed += s.given_up[g] - p.relaxed[g];
    s.cost_before += p.weight[g] * static_cast<double>(sqdists[p.assignment[g]]);
  }
  if (feasible < 0 || colour < 0 || s.center_colour[feasible] == colour) return;
  s.center_colour[feasible] = colour;
  --s.free_centers;
  if (!s.has_center[colour]) --s.waiting;
  s.has_center[colour] = 1;
}

}  // namespace

template <Isa isa, class T>
int64_t constrained_assign_scratch(const ConstrainedAssignParams<T>& p, int) {
  Arena arena(nullptr);
  Layout<T>(p, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool constrained_assign(const ConstrainedAssignParams<T>& p, void* scratch, const Control& control) {
  Arena arena(scratch);
  Layout<T> s(p, arena);
  s.begin(p);
  for (int64_t r0 = 0; r0 < p.X.rows; r0 += block) {
    const int64_t count = at_most(block, p.X.rows - r0);
    const bool completed = parallel_for(control, (count + item_rows - 1) / item_rows, [&](int64_t item, int) {
      for (int64_t r = item * item_rows; r < at_most((item + 1) * item_rows, count); ++r)
        sqdists_of(p, p.order[r0 + r], s.sqdists + r * p.k);
    });
    if (!completed) return false;
    for (int64_t r = 0; r < count; ++r) place(p, s, p.order[r0 + r], s.sqdists + r * p.k);
  }
  if (p.again && (s.more_relaxed > 0 || (s.more_relaxed == 0 && !(s.cost < s.cost_before)))) return true;
  for (int64_t g = 0; g < p.X.rows; ++g) {
    p.assignment[g] = s.found[g];
    p.relaxed[g] = s.given_up[g];
  }
  return true;
}

PYAL_INSTANTIATE_KERNEL(constrained_assign, ConstrainedAssignParams)

}  // namespace pyal::cpu
