// A map that forgets what was not used for longest: the memory bound of everything in this folder. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <utility>

namespace penstock::graph {

template <class Key, class Value>
class BoundedMap {
 public:
  explicit BoundedMap(std::size_t capacity) : capacity_(capacity == 0 ? 1 : capacity) {}
  // A copy's index would point into the original; a moved list keeps its iterators.
  BoundedMap(const BoundedMap&) = delete;
  BoundedMap& operator=(const BoundedMap&) = delete;
  BoundedMap(BoundedMap&&) = default;
  BoundedMap& operator=(BoundedMap&&) = default;

  // Makes it where it is missing; the entry becomes the most recently used. Valid until the next call.
  template <class K>
  Value& touch(const K& key) {
    if (auto it = index_.find(key); it != index_.end()) {
      order_.splice(order_.begin(), order_, it->second);
      return it->second->second;
    }
    if (index_.size() >= capacity_) {
      index_.erase(index_.find(order_.back().first));
      order_.pop_back();
      ++forgotten_;
    }
    order_.emplace_front(Key(key), Value{});
    index_.emplace(order_.front().first, order_.begin());
    return order_.front().second;
  }
  template <class K>
  const Value* find(const K& key) const {
    const auto it = index_.find(key);
    return it == index_.end() ? nullptr : &it->second->second;
  }
  template <class K>
  void erase(const K& key) {
    const auto it = index_.find(key);
    if (it == index_.end()) return;
    order_.erase(it->second);
    index_.erase(it);
  }
  // From the most to the least recently used.
  const std::list<std::pair<Key, Value>>& entries() const { return order_; }
  std::size_t size() const { return index_.size(); }
  std::uint64_t forgotten() const { return forgotten_; }

 private:
  std::size_t capacity_;
  std::uint64_t forgotten_ = 0;
  std::list<std::pair<Key, Value>> order_;
  std::map<Key, typename std::list<std::pair<Key, Value>>::iterator, std::less<>> index_;
};

}  // namespace penstock::graph
