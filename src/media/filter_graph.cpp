// SPDX-License-Identifier: Apache-2.0
#include "media/filter_graph.hpp"

extern "C" {
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/mem.h>
}

namespace t2v::media {

namespace {

UniqueFilterInOut make_end(const std::string& name, AVFilterContext* filter, UniqueFilterInOut next) {
  UniqueFilterInOut end(avfilter_inout_alloc());
  if (!end) throw Error(ErrorCode::no_resource, "filter graph: out of memory");
  end->name = av_strdup(name.c_str());
  end->filter_ctx = filter;
  end->pad_idx = 0;
  end->next = next.release();
  return end;
}

}  // namespace

FilterGraph::FilterGraph(const std::string& text, const std::vector<Source>& sources) : graph_(avfilter_graph_alloc()) {
  quiet_libav();
  const std::string where = "filter " + text;
  if (!graph_) throw Error(ErrorCode::no_resource, where + ": out of memory");
  graph_->nb_threads = 1;
  UniqueFilterInOut ends;
  for (size_t i = sources.size(); i-- > 0;) {
    const Source& source = sources[i];
    const std::string name = "in" + (sources.size() == 1 ? std::string() : std::to_string(i));
    const std::string options = "video_size=" + std::to_string(source.width) + "x" + std::to_string(source.height) +
                                ":pix_fmt=" + av_get_pix_fmt_name(source.format) +
                                ":time_base=" + std::to_string(source.time_base.num) + "/" +
                                std::to_string(source.time_base.den);
    AVFilterContext* filter = nullptr;
    av_check(avfilter_graph_create_filter(&filter, avfilter_get_by_name("buffer"), name.c_str(), options.c_str(),
                                          nullptr, graph_.get()),
             "avfilter_graph_create_filter", where, ErrorCode::unsupported);
    inputs_.insert(inputs_.begin(), filter);
    ends = make_end(name, filter, std::move(ends));
  }
  av_check(
      avfilter_graph_create_filter(&output_, avfilter_get_by_name("buffersink"), "out", nullptr, nullptr, graph_.get()),
      "avfilter_graph_create_filter", where, ErrorCode::unsupported);
  UniqueFilterInOut sink = make_end("out", output_, nullptr);
  AVFilterInOut* open_inputs = sink.release();
  AVFilterInOut* open_outputs = ends.release();
  const int code = avfilter_graph_parse_ptr(graph_.get(), text.c_str(), &open_inputs, &open_outputs, nullptr);
  avfilter_inout_free(&open_inputs);
  avfilter_inout_free(&open_outputs);
  av_check(code, "avfilter_graph_parse_ptr", where, ErrorCode::unsupported);
  av_check(avfilter_graph_config(graph_.get(), nullptr), "avfilter_graph_config", where, ErrorCode::unsupported);
}

void FilterGraph::push(size_t input, AVFrame* frame) {
  // PUSH: filter now; otherwise frames pile up in the graph until something is pulled.
  av_check(av_buffersrc_add_frame_flags(inputs_[input], frame, AV_BUFFERSRC_FLAG_KEEP_REF | AV_BUFFERSRC_FLAG_PUSH),
           "av_buffersrc_add_frame", "filter", ErrorCode::no_resource);
}

void FilterGraph::close(size_t input) {
  av_check(av_buffersrc_add_frame_flags(inputs_[input], nullptr, 0), "av_buffersrc_add_frame", "filter",
           ErrorCode::no_resource);
}

UniqueFrame FilterGraph::pull() {
  UniqueFrame frame = make_frame();
  const int code = av_buffersink_get_frame(output_, frame.get());
  if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return nullptr;
  av_check(code, "av_buffersink_get_frame", "filter", ErrorCode::no_resource);
  return frame;
}

}  // namespace t2v::media
