// Frames: the unit of sealing. A frame is some plaintext (64 pages, a piece of
// a page table …) sealed with the job's key, so that whoever has not the key
// learns nothing but its length, and whoever changes a bit of it is found out.
//
// Nonces. A frame's nonce is its pack's random 128-bit id and its number in the
// pack (and the frame's kind, see below). A pack id is drawn fresh for each pack
// that is begun, also when an aborted version is tried again, and within a pack
// a number is used once: so under one data key no nonce comes back, without any
// state that a crash or a copy of the store could roll back. 128 random bits
// make a collision of pack ids unthinkable, and each kind of frame has a key of
// its own, derived from the data key, so that a page frame never opens as a table.
//
//   key    BLAKE2b-256, keyed with the data key, of "ckptfs 1 <suite> <purpose>",
//          the purpose being "pages", "table" or "fingerprint"
//   nonce  pack id, number as 64 bits little-endian, zeros up to the nonce's size
//   frame  ciphertext as long as the plaintext, then kTagBytes of tag
//
// There is no associated data: a frame's place is all in key and nonce.
#pragma once

#include <array>
#include <memory>

#include "crypto/secret_bytes.h"
#include "crypto/suite.h"

namespace ckptfs {

using PackId = std::array<uint8_t, 16>;

struct FrameId {
  PackId pack{};
  uint64_t number = 0;
};

// What a frame holds; each kind has its own derived key.
enum class FrameKind : uint8_t {
  kPages = 1,  // pages of the job
  kTable = 2,  // a piece of a sealed page table
};

// In both suites; Poly1305's 16 bytes are followed by zeros, which are checked.
inline constexpr size_t kTagBytes = 32;

PackId RandomPackId();

// Seals and opens frames of one job. Immutable after making; thread-safe.
class FrameCipher {
 public:
  // `data_key` is kDataKeyBytes long (crypto/keys.h); borrowed for the call only.
  // Errors: kUnsupported if the suite is not available, kNoMemory for locked memory.
  static Result<std::unique_ptr<FrameCipher>> Make(Suite suite, const SecretBytes& data_key);
  ~FrameCipher();

  // Encrypts `plain` into `frame`, which is kTagBytes longer. The two start at the same
  // place, or do not overlap.
  void Seal(FrameKind kind, const FrameId& id, Bytes plain, MutableBytes frame) const;
  // The same where `frame` is plaintext followed by kTagBytes of room.
  void SealInPlace(FrameKind kind, const FrameId& id, MutableBytes frame) const;
  // Opens `sealed` (ciphertext and tag) into `plain`, which is exactly kTagBytes
  // shorter; they may be the same start of memory.
  // Errors: kCorrupt if the tag does not verify or the sizes do not fit; `plain` is
  // then all zeros.
  Result<void> Open(FrameKind kind, const FrameId& id, Bytes sealed, MutableBytes plain) const;

  Suite suite() const { return suite_; }

 private:
  struct Keys;
  FrameCipher(Suite suite, std::unique_ptr<const Keys> keys);
  Suite suite_;
  std::unique_ptr<const Keys> keys_;
};

// A page's fingerprint: 16 bytes keyed with the job's key, equal exactly when
// two pages are. Never stored outside the sealed page table: with AEGIS it is a
// MAC under a fixed nonce, which is sound only while the tags stay secret.
//   aegis256-blake3            first 16 bytes of the 32-byte tag of an empty message
//                              with the page as associated data and a zero nonce
//   xchacha20poly1305-blake2b  BLAKE2b-128 of the page, keyed
using Fingerprint = std::array<uint8_t, 16>;

class Fingerprinter {
 public:
  // Errors as FrameCipher::Make.
  static Result<std::unique_ptr<Fingerprinter>> Make(Suite suite, const SecretBytes& data_key);
  ~Fingerprinter();
  // `page` is exactly kPageBytes long. Thread-safe.
  Fingerprint Of(Bytes page) const;

 private:
  struct Key;
  Fingerprinter(Suite suite, std::unique_ptr<const Key> key);
  Suite suite_;
  std::unique_ptr<const Key> key_;
};

}  // namespace ckptfs
