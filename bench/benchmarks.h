// Every family of micro-benchmarks, added by main in this order.
#pragma once

void add_depthwise_benchmarks();
