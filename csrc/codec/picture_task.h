// The work that one picture is: parsing its slice data, then deriving its motion.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "codec/picture.h"

namespace ove::codec {

class PictureTask {
 public:
  virtual ~PictureTask() = default;

  const std::shared_ptr<CodecPicture>& picture() const { return picture_; }
  bool has_work() const { return picture_->detail.has_arrays(); }

  // Independent of every other picture. Throws with the position of the slice at fault.
  virtual void parse() = 0;

  // decode_index of the pictures whose motion must be derived first.
  virtual const std::vector<std::int64_t>& waits_for() const { return picture_->collocated; }

  // After parse() of this picture and derive_motion() of those that it waits for. Leaves motion as it is where none is
  // wanted.
  virtual void derive_motion() = 0;

  // The picture to show once motion is derived: this one, or, where it is the last field of a frame, that frame. Null
  // where another is to come.
  virtual std::shared_ptr<CodecPicture> shown() { return picture_; }

 protected:
  explicit PictureTask(std::shared_ptr<CodecPicture> picture) : picture_(std::move(picture)) {}

 private:
  std::shared_ptr<CodecPicture> picture_;
};

}  // namespace ove::codec
