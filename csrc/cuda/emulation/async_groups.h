// Asynchronous work of one thread, done when the thread waits for its group and not before.
#pragma once

#include <deque>
#include <functional>
#include <utility>
#include <vector>

namespace fastconv::cuda::emulation {

class AsyncGroups {
 public:
  void add(std::function<void()> work) { open_.push_back(std::move(work)); }
  void commit() { committed_.push_back(std::exchange(open_, {})); }
  void wait(std::size_t most_pending) {
    for (; committed_.size() > most_pending; committed_.pop_front())
      for (const auto& work : committed_.front()) work();
  }

 private:
  std::vector<std::function<void()>> open_;
  std::deque<std::vector<std::function<void()>>> committed_;
};

}  // namespace fastconv::cuda::emulation
