// The one tile configuration of the process: 8 tiles of 16 rows x 64 bytes.
//
// Tails are never narrower tiles: rows that do not count are computed and not stored, k that does not count meets zero
// weights. So every kernel runs under the same configuration and loads it only when the thread has another one or none.
#pragma once

namespace octet::kernels {

// Makes this thread's tiles usable by the kernels; about 30 cycles when they are already.
void configure_tiles() noexcept;
// Gives the tile state back, so that the operating system need not save 8 KiB at every switch of this thread. To be called
// when a thread of ours goes to sleep, and before returning to a caller's code. No effect on CPUs without AMX.
void release_tiles() noexcept;

}  // namespace octet::kernels
