// SPDX-License-Identifier: Apache-2.0
#include "media/avio.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

extern "C" {
#include <libavutil/avstring.h>
#include <libavutil/mem.h>
}

namespace t2v::media {

namespace {

constexpr int kBufferBytes = 1 << 17;

AVIOContext* make_io(bool writes, void* opaque, int (*read)(void*, uint8_t*, int),
                     int (*write)(void*, AvioWriteBytes, int), int64_t (*seek)(void*, int64_t, int)) {
  auto* buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  AVIOContext* io =
      buffer ? avio_alloc_context(buffer, kBufferBytes, writes ? 1 : 0, opaque, read, write, seek) : nullptr;
  if (!io) {
    av_free(buffer);
    throw Error(ErrorCode::no_resource, "file buffer: out of memory");
  }
  return io;
}

void free_io(AVIOContext* io) {
  if (!io) return;
  av_freep(&io->buffer);
  avio_context_free(&io);
}

/// A second, independent reader of the file that is being written: faststart moves the media data
/// through it.
struct ReadBack {
  int fd = -1;
  int64_t position = 0;
};

int read_back(void* opaque, uint8_t* bytes, int count) {
  auto* reader = static_cast<ReadBack*>(opaque);
  const ssize_t got = ::pread(reader->fd, bytes, static_cast<size_t>(count), reader->position);
  if (got < 0) return -errno;
  if (got == 0) return AVERROR_EOF;
  reader->position += got;
  return static_cast<int>(got);
}

int64_t seek_read_back(void* opaque, int64_t offset, int whence) {
  auto* reader = static_cast<ReadBack*>(opaque);
  struct stat info {};
  if (whence & AVSEEK_SIZE) return ::fstat(reader->fd, &info) == 0 ? info.st_size : -errno;
  switch (whence & ~AVSEEK_FORCE) {
    case SEEK_SET: reader->position = offset; break;
    case SEEK_CUR: reader->position += offset; break;
    default: return AVERROR(EINVAL);
  }
  return reader->position;
}

int open_read_back(AVFormatContext* context, AVIOContext** io, const char*, int flags, AVDictionary**) {
  if (flags & AVIO_FLAG_WRITE) return AVERROR(EPERM);
  auto* file = static_cast<OutputFile*>(context->opaque);
  if (!file->seekable()) return AVERROR(ESPIPE);
  auto reader = std::make_unique<ReadBack>(ReadBack{file->fd(), 0});
  try {
    *io = make_io(false, reader.get(), read_back, nullptr, seek_read_back);
  } catch (const Error&) {
    return AVERROR(ENOMEM);
  }
  reader.release();  // close_read_back frees it
  return 0;
}

int close_read_back(AVFormatContext*, AVIOContext* io) {
  if (!io) return 0;
  delete static_cast<ReadBack*>(io->opaque);
  free_io(io);
  return 0;
}

int read_file(void* opaque, uint8_t* bytes, int count) {
  const int fd = *static_cast<int*>(opaque);
  const ssize_t got = ::read(fd, bytes, static_cast<size_t>(count));
  if (got < 0) return -errno;
  return got == 0 ? AVERROR_EOF : static_cast<int>(got);
}

int64_t seek_file(void* opaque, int64_t offset, int whence) {
  const int fd = *static_cast<int*>(opaque);
  struct stat info {};
  if (whence & AVSEEK_SIZE) return ::fstat(fd, &info) == 0 ? info.st_size : -errno;
  const off_t position = ::lseek(fd, offset, whence & ~AVSEEK_FORCE);
  return position < 0 ? -errno : position;
}

/// libav's names of what holds a video or a picture by itself. Others lead elsewhere (sdp and dash open sockets without
/// asking our callbacks, hls and concat name files), or hold no video.
constexpr char kFormats[] =
    // videos
    "mov,matroska,avi,yuv4mpegpipe,gif,apng,mpegts,mpeg,flv,ogg,asf,mxf,nut,dv,ivf,"
    // a codec's bare stream
    "h264,hevc,m4v,mpegvideo,mjpeg,av1,obu,"
    // pictures
    "image2,png_pipe,jpeg_pipe,webp_pipe,gif_pipe,bmp_pipe,tiff_pipe,ppm_pipe,pgm_pipe,pbm_pipe,pam_pipe,pfm_pipe,"
    "dpx_pipe,exr_pipe,hdr_pipe,j2k_pipe,jpegxl_pipe,jpegxl_anim,qoi_pipe,sgi_pipe";

/// A video is one file: no format opens another.
int refuse_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) { return AVERROR(EPERM); }
int close_nothing(AVFormatContext*, AVIOContext*) { return 0; }

[[noreturn]] void refuse_input(const std::string& where, const std::string& got, std::string hint = {}) {
  throw Error(ErrorCode::bad_input, where + ": wanted a video or a picture" + got, std::move(hint));
}

std::string described(const AVInputFormat& format) {
  return format.long_name ? std::string(format.name) + " (" + format.long_name + ")" : format.name;
}

/// A context that can read `io` and nothing else, not even through formats inside a format.
UniqueInputContext make_confined_context(AVIOContext* io, const std::string& where) {
  UniqueInputContext context(avformat_alloc_context());
  if (!context) throw Error(ErrorCode::no_resource, where + ": out of memory");
  context->pb = io;
  context->flags |= AVFMT_FLAG_CUSTOM_IO;
  set_io_callbacks<close_nothing>(context.get(), refuse_open);
  context->format_whitelist = av_strdup(kFormats);
  context->protocol_whitelist = av_strdup("");  // none: null would be all
  if (!context->format_whitelist || !context->protocol_whitelist) {
    throw Error(ErrorCode::no_resource, where + ": out of memory");
  }
  return context;
}

}  // namespace

int AvioOutput::write_bytes(void* self, AvioWriteBytes bytes, int count) {
  auto* output = static_cast<AvioOutput*>(self);
  const std::span<const uint8_t> span(bytes, static_cast<size_t>(count));
  return output->filter_ ? output->filter_(span) : output->file_->try_write(span);
}

int64_t AvioOutput::seek(void* self, int64_t offset, int whence) {
  OutputFile* file = static_cast<AvioOutput*>(self)->file_;
  if (whence & AVSEEK_SIZE) return file->try_size();
  return file->try_seek(offset, whence & ~AVSEEK_FORCE);
}

AvioOutput::AvioOutput(AVFormatContext* context, OutputFile& file, Filter filter)
    : file_(&file), filter_(std::move(filter)) {
  const bool seekable = file.seekable() && !filter_;
  io_ = make_io(true, this, nullptr, write_bytes, seekable ? seek : nullptr);
  io_->seekable = seekable ? AVIO_SEEKABLE_NORMAL : 0;
  context->pb = io_;
  context->opaque = &file;
  context->flags |= AVFMT_FLAG_CUSTOM_IO;
  set_io_callbacks<close_read_back>(context, open_read_back);
}

AvioOutput::~AvioOutput() { free_io(io_); }

void AvioOutput::flush() {
  avio_flush(io_);
  file_->rethrow();
  av_check(io_->error, "avio_flush", file_->where());
}

AvioInput::AvioInput(const std::filesystem::path& path) : where_(path.string()) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer; regular files do not care.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const int error = errno;
  struct stat info {};
  if (fd_ < 0 || ::fstat(fd_, &info) != 0) {
    throw Error(ErrorCode::bad_input, where_ + ": cannot open: " + std::strerror(error));
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd_);
    throw Error(ErrorCode::bad_input, where_ + ": not a regular file");
  }
  io_ = make_io(false, &fd_, read_file, nullptr, seek_file);
}

AvioInput::~AvioInput() {
  free_io(io_);
  if (fd_ >= 0) ::close(fd_);
}

AvioInput::Format AvioInput::recognise() {
  Format format = nullptr;
  // The name only helps libav to guess; all bytes come from our descriptor.
  const int code = av_probe_input_buffer2(io_, &format, where_.c_str(), nullptr, 0, 0);
  if (code < 0) refuse_input(where_, ": " + av_words(code));
  if (av_match_list(format->name, kFormats, ',') > 0) return format;
  refuse_input(where_, ", got " + described(*format),
               "mp4, mov, mkv, webm, avi, gif, y4m, mpeg and pictures are read; what leads to other files is not");
}

UniqueInputContext AvioInput::open_container() {
  quiet_libav();
  const Format format = recognise();
  UniqueInputContext container = make_confined_context(io_, where_);
  AVFormatContext* context = container.release();  // freed by libav on failure
  if (const int code = avformat_open_input(&context, where_.c_str(), format, nullptr); code < 0) {
    refuse_input(where_, ": " + av_words(code));
  }
  container.reset(context);
  return container;
}

}  // namespace t2v::media
