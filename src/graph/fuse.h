// Joins operations that save a pass over memory or a meeting of the threads when they run as one.
//
//   RMS_NORM or LAYER_NORM over whole rows whose result one LINEAR alone reads  ->  that LINEAR, which norms its input
//   LINEAR of one or two matrices, then GLU of all its results     ->  one LINEAR with an epilogue
//   LINEAR of one matrix, then ADD of its result and another       ->  one LINEAR with an epilogue
//
// The numbers stay the same to the last bit.
#ifndef CHORD_GRAPH_FUSE_H
#define CHORD_GRAPH_FUSE_H

#include "graph/graph.h"

// Before scratch is planned. Values that no node has any more are dropped and the others renumbered.
enum chord_status graph_fuse(struct graph *graph, struct chord_error *err);

#endif
