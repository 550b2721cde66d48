// Which of libavformat's demuxers are let near a file.
#pragma once

namespace ove::media {

// Those that read the bytes they are given and nothing else. The others open sockets (SDP, RTP), send requests (DASH,
// HLS), read further files (concat, image sequences, SVG) or run a program (scripts of AviSynth). A name that the
// installed libavformat does not have does no harm.
inline constexpr const char* kSelfContainedFormats =
    // containers
    "mov,mp4,matroska,webm,mpegts,mpeg,avi,flv,live_flv,kux,asf,asf_o,ogg,mxf,nut,nuv,nsv,gxf,lxf,rm,ivf,dv,dhav,wtv,"
    "ty,"
    "swf,flic,yuv4mpegpipe,smjpeg,mjpeg_2000,mpjpeg,cine,pva,"
    // byte streams of one codec
    "hevc,h264,vvc,evc,h261,h263,m4v,mpegvideo,mjpeg,obu,av1,dirac,dnxhd,cavsvideo,avs2,avs3,vc1,vc1test,"
    // pictures, still and moving
    "gif,gif_pipe,apng,jpegxl_anim,bmp_pipe,dds_pipe,dpx_pipe,exr_pipe,hdr_pipe,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_"
    "pipe,"
    "pam_pipe,pbm_pipe,pcx_pipe,pfm_pipe,pgm_pipe,pgmyuv_pipe,png_pipe,ppm_pipe,psd_pipe,qoi_pipe,sgi_pipe,sunrast_"
    "pipe,"
    "tiff_pipe,webp_pipe,"
    // sound, which is refused by its name
    "aac,ac3,aiff,amr,eac3,flac,mp3,w64,wav";

}  // namespace ove::media
