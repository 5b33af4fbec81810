// SPDX-License-Identifier: Apache-2.0
// A board's system (boards.top.System) in real time: its serial line is this program's standard
// input and output, byte by byte.  Arguments: clock cycles of a bit.  Ends with its input.
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "Vtop.h"
#include "serial_line.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

namespace {

// Cycles without any byte or inference after which the clock stops until a byte comes.
constexpr uint64_t kSleepAfter = 1000000;

}  // namespace

int main(int argc, char** argv) {
    const int divisor = argc > 1 ? std::atoi(argv[1]) : 0;
    if (divisor < 4) {
        std::fprintf(stderr, "error: cycles of a bit must be at least 4\n");
        return 2;
    }
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vtop>(context.get());
    Line line{divisor};
    uint64_t cycle = 0, quiet = 0;
    for (;; ++cycle, ++quiet) {
        // Looking for bytes is slow, so it is done once in the time of one.
        if (cycle % (10 * divisor) == 0) {
            pollfd input{STDIN_FILENO, POLLIN, 0};
            if (poll(&input, 1, quiet > kSleepAfter ? -1 : 0) > 0) {
                uint8_t bytes[256];
                const ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
                if (count <= 0) break;
                line.waiting.insert(line.waiting.end(), bytes, bytes + count);
                quiet = 0;
            }
        }
        top->clk = 0;
        top->rst = cycle < 4;
        top->rx = cycle < 8 || line.drive();
        top->eval();
        top->clk = 1;
        top->eval();
        if (cycle >= 8 && line.listen(top->tx)) {
            if (write(STDOUT_FILENO, &line.received, 1) != 1) break;
            quiet = 0;
        }
        if (top->busy) quiet = 0;
    }
    top->final();
    return 0;
}
