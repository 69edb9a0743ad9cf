// Memory of one thread for the length of one operation: a stack that grows when an operation needs
// more than any before it, and then stays. Nothing is initialised.
//
// Threads: each thread uses its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace hadal::kernels::cpu {

class Scratch {
 public:
  // Everything taken during the life of a frame is given back at its end. Frames nest.
  class Frame {
   public:
    explicit Frame(Scratch& scratch)
        : scratch_(scratch), chunk_(scratch.chunk_), used_(scratch.used_) {}
    ~Frame() { scratch_.rewind(chunk_, used_); }
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;

   private:
    Scratch& scratch_;
    size_t chunk_, used_;
  };

  // `count` elements of a trivial type, 64-byte aligned, valid until the enclosing frame ends.
  template <class T>
  T* take(int64_t count) {
    return static_cast<T*>(take_bytes(static_cast<size_t>(count) * sizeof(T)));
  }

 private:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kFirstChunk = size_t{1} << 16;

  struct Free {
    void operator()(std::byte* data) const {
      ::operator delete (data, std::align_val_t{kAlignment});
    }
  };
  struct Chunk {
    std::unique_ptr<std::byte, Free> data;
    size_t size;
  };

  void* take_bytes(size_t bytes);
  void rewind(size_t chunk, size_t used);
  void add_chunk(size_t bytes);

  std::vector<Chunk> chunks_;
  size_t chunk_ = 0;  // in use; chunks_[0, chunk_) are full
  size_t used_ = 0;   // of chunks_[chunk_]
};

}  // namespace hadal::kernels::cpu
