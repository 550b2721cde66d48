// What the files of this room offer to module.cpp: one function a room of the core.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "codec/limits.h"
#include "common/geometry.h"

namespace ove::codec {
enum class SliceType : std::uint8_t;
struct CodecPicture;
}  // namespace ove::codec

namespace ove::reader {
struct Loss;
struct VideoPicture;
}  // namespace ove::reader

namespace ove::bindings {

template <class T>
using Array = pybind11::array_t<T, pybind11::array::c_style | pybind11::array::forcecast>;

void bind_canvases(pybind11::module_& m);
void bind_heat_plan(pybind11::module_& m);
void bind_media(pybind11::module_& m);
void bind_picture(pybind11::module_& m);
void bind_planes(pybind11::module_& m);
void bind_reader(pybind11::module_& m);
void bind_saliency(pybind11::module_& m);
void bind_stream(pybind11::module_& m);
void bind_tokens(pybind11::module_& m);
void bind_transcoding(pybind11::module_& m);

// (first packet, packet behind the last, seconds or None, reason)
pybind11::tuple loss_tuple(const reader::Loss& loss);
// A _core.Picture.
pybind11::object picture_object(reader::VideoPicture picture, Orientation orientation);
// 'I', 'P' or 'B'
char type_letter(codec::SliceType type);
// What a _core.Picture shows; throws a TypeError for other objects.
std::shared_ptr<const codec::CodecPicture> codec_picture(const pybind11::object& picture);

// Limits by name. limits_of() throws std::invalid_argument for a name that is no limit, and for a value out of range.
using LimitsDict = std::map<std::string, std::int64_t>;
codec::Limits limits_of(const LimitsDict& values);

}  // namespace ove::bindings
