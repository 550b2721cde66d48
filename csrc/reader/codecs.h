// The codecs whose syntax the library decodes, by FFmpeg's names: the one place that knows their rooms.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "codec/decoder.h"
#include "media/demuxer.h"
#include "media/packet_filter.h"

namespace ove::reader {

// Whether make_decoder() knows this codec.
bool decodes(const std::string& codec);

// Whether pictures may name what precedes the random access point before them without needing it, as the marking of
// references in H.264 does: a decoder that starts there has to let that pass.
bool names_what_precedes(const std::string& codec);

// Throws std::invalid_argument for a codec that it does not know.
std::unique_ptr<codec::Decoder> make_decoder(const std::string& codec, codec::DecoderOptions options);

// For packets of this codec in the form that the extradata of their stream tells; null where packets of other codecs
// need not be taken apart.
std::shared_ptr<media::PacketFilter> make_packet_filter(const std::string& codec,
                                                        std::span<const std::uint8_t> extradata);

// The name of libavformat's format of a raw byte stream (Annex B) that begins with these bytes, by the headers of its
// NAL units; empty for other files. libavformat's own probe needs a whole set of parameter sets and pictures, and
// guesses by the name of the file.
std::string sniff_byte_stream(std::span<const std::uint8_t> head);

}  // namespace ove::reader
