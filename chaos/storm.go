package main

import "context"

func storm(ctx context.Context, w *world, o options) cell { return cell{operation: "load"} }
