// SPDX-License-Identifier: Apache-2.0
// A libavfilter graph with named inputs in0, in1, ... and one output. One input may be left unnamed
// in the text.
#pragma once

#include <string>
#include <vector>

#include "media/av.hpp"

namespace t2v::media {

class FilterGraph {
 public:
  struct Source {
    AVPixelFormat format;
    int width, height;
    AVRational time_base;
  };
  FilterGraph(const std::string& text, const std::vector<Source>& sources);

  void push(size_t input,
            AVFrame* frame);  ///< the graph takes a reference; the frame stays the caller's
  void close(size_t input);   ///< no more frames come
  UniqueFrame pull();         ///< null: none is ready (or none is left)

 private:
  UniqueFilterGraph graph_;
  std::vector<AVFilterContext*> inputs_;  // of graph_
  AVFilterContext* output_ = nullptr;     // of graph_
};

}  // namespace t2v::media
