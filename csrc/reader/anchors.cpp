#include "reader/anchors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <tuple>

namespace ove::reader {

namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// What is decoded so far, and what a further picture adds to it.
class Decoded {
 public:
  explicit Decoded(const VideoIndex& index)
      : index_(index),
        decoded_(index.decoded.size()),
        referenced_(decoded_.size()),
        seen_(decoded_.size()),
        chain_(decoded_.size()) {}

  // Coded pictures that this one adds; those found up to then where they are more than `most`.
  std::int64_t added(const IndexedPicture& picture, std::int64_t most);
  // Decodes what added() has found last.
  void add();
  std::int64_t count() const { return count_; }

  // Prepares at_least() for coded pictures [begin, end).
  void count_chains(std::int64_t begin, std::int64_t end);
  // That added() is at least.
  std::int64_t at_least(const IndexedPicture& picture) const;

 private:
  bool droppable(std::int64_t i) const { return index_.decoded[at(i)].dropping == codec::Dropping::kFree; }

  const VideoIndex& index_;
  std::vector<bool> decoded_;
  std::vector<bool> referenced_;  // and so is all that it refers to
  std::int64_t count_ = 0;
  std::vector<std::uint32_t> seen_;  // the last search that found it referenced
  std::uint32_t search_ = 0;
  std::vector<std::int64_t> found_, found_referenced_;
  std::vector<std::int64_t> chain_;  // pictures up to here, of its group, that are not droppable and not decoded
};

// VideoIndex::closure(kDecoding) of one picture without what is decoded already, which is such a closure itself.
std::int64_t Decoded::added(const IndexedPicture& picture, std::int64_t most) {
  if (++search_ == 0) {
    std::fill(seen_.begin(), seen_.end(), 0);
    search_ = 1;
  }
  found_.clear();
  found_referenced_.clear();
  std::int64_t pending = 0, earliest = std::ssize(decoded_);
  const auto need = [&](std::int64_t i) {
    if (referenced_[at(i)] || seen_[at(i)] == search_) return;
    seen_[at(i)] = search_;
    ++pending;
  };
  const std::int64_t last = picture.decode_index + picture.num_coded - 1;
  for (std::int64_t i = picture.decode_index; i <= last; ++i) need(i);
  bool counted = false;  // see VideoIndex::closure
  for (std::int64_t i = last; i >= 0 && (pending > 0 || counted || earliest <= i); --i) {
    const bool needed = seen_[at(i)] == search_;
    if (!decoded_[at(i)] && (needed || (counted && !droppable(i)))) {
      found_.push_back(i);
      if (std::ssize(found_) > most) break;
    }
    if (needed) {
      --pending;
      found_referenced_.push_back(i);
      for (const std::int64_t other : index_.decoded[at(i)].references) {
        need(other);
        earliest = std::min(earliest, other);
      }
      counted = true;
    } else if (decoded_[at(i)] && !droppable(i)) {
      counted = false;  // so are those before it that count
    }
    if (index_.decoded[at(i)].random_access) counted = earliest < i;
  }
  return std::ssize(found_);
}

void Decoded::add() {
  for (const std::int64_t i : found_) decoded_[at(i)] = true;
  for (const std::int64_t i : found_referenced_) referenced_[at(i)] = true;
  count_ += std::ssize(found_);
  found_.clear();
}

void Decoded::count_chains(std::int64_t begin, std::int64_t end) {
  while (begin > 0 && !index_.decoded[at(begin)].random_access) --begin;
  std::int64_t count = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    if (index_.decoded[at(i)].random_access) count = 0;
    count += !decoded_[at(i)] && !droppable(i);
    chain_[at(i)] = count;
  }
}

std::int64_t Decoded::at_least(const IndexedPicture& picture) const {
  const std::int64_t end = picture.decode_index + picture.num_coded;
  std::int64_t count = chain_[at(end - 1)];
  for (std::int64_t i = picture.decode_index; i < end; ++i) count += !decoded_[at(i)] && droppable(i);
  return count;
}

void check(const VideoIndex& index, const AnchorRequest& request) {
  const auto ascending = [](const std::vector<std::int64_t>& values, std::int64_t end) {
    return values.empty() || (values.front() >= 0 && values.back() < end &&
                              std::adjacent_find(values.begin(), values.end(), std::greater_equal<>()) == values.end());
  };
  if (!ascending(request.shown, std::ssize(index.pictures))) {
    throw std::invalid_argument("shown must hold ascending display indices, each once");
  }
  if (!ascending(request.asked, std::ssize(request.shown))) {
    throw std::invalid_argument("asked must hold ascending positions in shown, each once");
  }
  if (request.tolerance && !(*request.tolerance >= 0)) {
    throw std::invalid_argument("tolerance must be 0 seconds or more, not " + std::to_string(*request.tolerance));
  }
}

// Positions in AnchorRequest::shown, both included.
struct Window {
  std::int64_t first, last;
};

class Search {
 public:
  Search(const VideoIndex& index, const AnchorRequest& request)
      : index_(index), request_(request), decoded_(index), taken_(request.asked) {
    find_windows();
  }

  std::vector<std::int64_t> run() {
    for (std::int64_t k = std::ssize(taken_); k-- > 0;) {
      const std::int64_t behind = k + 1 < std::ssize(taken_) ? taken_[at(k + 1)] : std::ssize(request_.shown);
      Window window = windows_[at(k)];
      window.last = std::min(window.last, behind - 1);
      taken_[at(k)] = cheapest(window, request_.asked[at(k)]);
    }
    return taken_;
  }

  std::vector<std::int64_t> unanchored() const {
    std::vector<std::int64_t> unknown;
    for (const Window& window : windows_) {
      bool anchored = false;
      for (std::int64_t i = window.first; i <= window.last; ++i) anchored |= can_take(i) && may_take(i);
      for (std::int64_t i = window.first; !anchored && i <= window.last; ++i) unknown.push_back(request_.shown[at(i)]);
    }
    return unknown;
  }

  std::int64_t count() const { return decoded_.count(); }
  bool sure() const { return sure_; }

 private:
  struct Candidate {
    std::int64_t at_least;
    bool inside;      // a group: decoding cannot begin there
    double distance;  // seconds
    std::int64_t position;
    bool operator>(const Candidate& o) const {
      const bool costs = at_least > 0;
      return std::tuple(at_least, costs && inside, distance, position) >
             std::tuple(o.at_least, costs && o.inside, o.distance, o.position);
    }
  };

  const IndexedPicture& picture(std::int64_t position) const {
    return index_.pictures[at(request_.shown[at(position)])];
  }
  // Whether it is known what it takes.
  bool can_take(std::int64_t position) const {
    return index_.knows(picture(position)) || index_.decoded[at(picture(position).decode_index)].random_access;
  }
  bool may_take(std::int64_t position) const {
    return request_.intra || picture(position).type != codec::SliceType::kI;
  }
  double distance(std::int64_t a, std::int64_t b) const { return std::abs(picture(a).pts - picture(b).pts); }

  // Those within the tolerance without a gap up to the sample, which leave room for the samples before it.
  void find_windows() {
    const std::vector<std::int64_t>& asked = request_.asked;
    std::int64_t least = 0;
    for (std::size_t k = 0; k < asked.size(); ++k) {
      const bool last = k + 1 == asked.size();
      const double before = request_.tolerance.value_or(k == 0 ? 0 : distance(asked[k], asked[k - 1]) / 2);
      const double behind = request_.tolerance.value_or(last ? 0 : distance(asked[k], asked[k + 1]) / 2);
      Window window{asked[k], asked[k]};
      while (window.first > least && distance(window.first - 1, asked[k]) <= before) --window.first;
      while (window.last + 1 < std::ssize(request_.shown) && distance(window.last + 1, asked[k]) <= behind) {
        ++window.last;
      }
      windows_.push_back(window);
      least = window.first + 1;
    }
  }

  // Decodes the cheapest picture of a window, and gives its position.
  std::int64_t cheapest(const Window& window, std::int64_t asked) {
    std::vector<std::int64_t> allowed;
    for (std::int64_t i = window.first; i <= window.last; ++i) {
      if (can_take(i) && may_take(i)) allowed.push_back(i);
    }
    const bool none = allowed.empty();
    for (std::int64_t i = window.first; none && i <= window.last; ++i) {
      allowed.push_back(i);
      sure_ &= can_take(i);
    }
    std::int64_t begin = std::ssize(index_.decoded), end = 0;
    for (const std::int64_t i : allowed) {
      begin = std::min(begin, picture(i).decode_index);
      end = std::max(end, picture(i).decode_index + picture(i).num_coded);
    }
    decoded_.count_chains(begin, end);
    std::vector<Candidate> heap;
    for (const std::int64_t i : allowed) {
      const bool inside = !index_.decoded[at(picture(i).decode_index)].random_access;
      heap.push_back({decoded_.at_least(picture(i)), inside, distance(i, asked), i});
    }
    std::make_heap(heap.begin(), heap.end(), std::greater<>());
    Candidate best{std::numeric_limits<std::int64_t>::max(), true, 0, -1};
    while (!heap.empty() && best > heap.front()) {
      std::pop_heap(heap.begin(), heap.end(), std::greater<>());
      Candidate candidate = heap.back();
      heap.pop_back();
      candidate.at_least = decoded_.added(picture(candidate.position), best.at_least);
      if (best > candidate) best = candidate;
    }
    decoded_.added(picture(best.position), best.at_least);
    decoded_.add();
    return best.position;
  }

  const VideoIndex& index_;
  const AnchorRequest& request_;
  Decoded decoded_;
  std::vector<Window> windows_;
  bool sure_ = true;  // nothing was taken of which it is not known what it takes
  std::vector<std::int64_t> taken_;
};

}  // namespace

std::optional<std::vector<std::int64_t>> anchors(const VideoIndex& index, const AnchorRequest& request) {
  check(index, request);
  Search search(index, request);
  std::vector<std::int64_t> taken = search.run();
  Decoded asked(index);
  bool refused = false;  // an I picture was asked for that may not be taken
  bool known = true;
  for (const std::int64_t i : request.asked) {
    const IndexedPicture& picture = index.pictures[at(request.shown[at(i)])];
    refused |= !request.intra && picture.type == codec::SliceType::kI;
    known &= index.knows(picture);
    asked.added(picture, std::ssize(index.decoded));
    asked.add();
  }
  // What is not known of a picture only adds to this.
  if (search.sure() && (search.count() <= asked.count() || (refused && known))) return taken;
  if (!search.sure() || !known) return std::nullopt;
  return request.asked;
}

std::vector<std::int64_t> unanchored(const VideoIndex& index, const AnchorRequest& request) {
  check(index, request);
  return Search(index, request).unanchored();
}

}  // namespace ove::reader
