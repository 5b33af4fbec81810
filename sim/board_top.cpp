// SPDX-License-Identifier: Apache-2.0
// A board's whole top (boards.top.BoardTop) between its oscillator, its serial line and its memory
// chip.  The line is this program's standard input and output, byte by byte.
// Arguments: half a period of the oscillator and a bit of the line in picoseconds, and two more: for
// a flash the address and the file of what it holds, for DDR3 the nanoseconds of its access time and
// of the way.  Ends with its input; with status 1 where the design
// breaks a rule of the chip, which it tells.
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>

#include "Vtop.h"
#include "serial_line.h"
#include "verilated.h"
#ifdef WITH_FLASH
#include "flash_chip.h"
#elif defined(WITH_DDR3)
#include "ddr3_chip.h"
#else
#include "sdram_chip.h"
#endif

double sc_time_stamp() { return 0; }

namespace {

// Simulated time without any byte or inference after which the clock stops until a byte comes.
constexpr uint64_t kSleepAfterPs = 20'000'000'000;
// Of the line's far end, in a bit.
constexpr int kLooks = 4;

#ifdef WITH_FLASH
// In the middle of its life: the quad bit, which keeps its value, is set.
constexpr double kWriteNs = 140e6;
struct Chip : FlashChip {
    static constexpr const char* kName = "flash";
    Chip(const char*, const char*) : FlashChip(kQuad, 0, kWriteNs) {}
    void drive(Vtop& top, double ns) { top.flash_dq = output(ns); }
    void look(const Vtop& top, double ns) {
        see(ns, {bool(top.flash_cs_n), bool(top.flash_sck), top.flash_dq__out, top.flash_dq__en});
    }
    void finish() {}
};
#elif defined(WITH_DDR3)
constexpr double kPowerUpNs = 200e3, kWakeUpNs = 500e3;
struct Chip : Ddr3Chip {
    static constexpr const char* kName = "ddr3";
    Chip(const char* access, const char* flight)
        : Ddr3Chip(kPowerUpNs, kWakeUpNs, std::atof(access), std::atof(flight)) {}
    void drive(Vtop& top, double ns) { top.ddr3_dq = output(ns); }
    void look(const Vtop& top, double ns) {
        Pins pins;
        pins.ck = top.ddr3_ck, pins.resetN = top.ddr3_reset_n, pins.cke = top.ddr3_cke;
        pins.csN = top.ddr3_cs_n, pins.rasN = top.ddr3_ras_n, pins.casN = top.ddr3_cas_n;
        pins.weN = top.ddr3_we_n, pins.odt = top.ddr3_odt, pins.ba = top.ddr3_ba;
        pins.a = top.ddr3_a, pins.dm = top.ddr3_dm, pins.dq = top.ddr3_dq__out;
        pins.dqs = top.ddr3_dqs__out & top.ddr3_dqs__en;
        pins.drivenDq = top.ddr3_dq__en != 0, pins.drivenDqs = top.ddr3_dqs__en != 0;
        see(ns, pins);
    }
};
#else
constexpr double kPowerUpNs = 200e3, kFlightNs = 9;
struct Chip : SdramChip {
    static constexpr const char* kName = "sdram";
    Chip(const char*, const char*) : SdramChip(kPowerUpNs, kFlightNs) {}
    void drive(Vtop& top, double ns) { top.sdram_dq = output(ns); }
    void look(const Vtop& top, double ns) {
        see(ns, top.sdram_clk,
            {bool(top.sdram_cke), bool(top.sdram_cs_n), bool(top.sdram_ras_n),
                bool(top.sdram_cas_n),
             bool(top.sdram_we_n), top.sdram_ba, top.sdram_a, top.sdram_dqm, top.sdram_dq__out,
             top.sdram_dq__en != 0});
    }
};
#endif

int verdict(const Chip& chip) {
    if (chip.faults.empty()) return 0;
    std::fprintf(stderr, "error: %s: %s\n", Chip::kName, chip.faults.front().c_str());
    return 1;
}

bool loaded(Chip& chip, const char* address, const char* path) {
#ifdef WITH_FLASH
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> data{std::istreambuf_iterator<char>(file), {}};
    chip.load(std::strtoul(address, nullptr, 0), reinterpret_cast<const uint8_t*>(data.data()),
        data.size());
    return bool(file) || file.eof();
#else
    return true;
#endif
}

}  // namespace

int main(int argc, char** argv) {
    const auto chip = std::make_unique<Chip>(argc > 4 ? argv[3] : "", argc > 4 ? argv[4] : "");
    const uint64_t half = argc > 2 ? std::strtoull(argv[1], nullptr, 0) : 0;
    const uint64_t bit = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 0;
    if (!half || bit < kLooks || (argc > 4 && !loaded(*chip, argv[3], argv[4]))) {
        std::fprintf(stderr, "error: times must be picoseconds, and the file readable\n");
        return 2;
    }
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vtop>(context.get());
    Line line{kLooks};
    uint64_t oscillator = half, look = 0, poll_at = 0, quiet_since = 0;
    top->osc = 0, top->rx = 1;
    for (uint64_t now = 0;;) {
        // Looking for bytes is slow, so it is done once in the time of one.
        if (now >= poll_at) {
            poll_at = now + 10 * bit;
            pollfd input{STDIN_FILENO, POLLIN, 0};
            if (poll(&input, 1, now - quiet_since > kSleepAfterPs ? -1 : 0) > 0) {
                uint8_t bytes[256];
                const ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
                if (count <= 0) break;
                line.waiting.insert(line.waiting.end(), bytes, bytes + count);
                quiet_since = now;
            }
        }
        if (now >= oscillator) {
            top->osc = !top->osc;
            oscillator += half;
        }
        if (now >= look) {
            look += bit / kLooks;
            if (line.listen(top->tx)) {
                if (write(STDOUT_FILENO, &line.received, 1) != 1) break;
                quiet_since = now;
            }
            top->rx = line.drive();
        }
        if (top->busy) quiet_since = now;
        chip->drive(*top, now * 1e-3);
        top->eval();
        chip->look(*top, now * 1e-3);
        if (!chip->faults.empty()) break;
        now = top->eventsPending() &&
            top->nextTimeSlot() < oscillator ? top->nextTimeSlot() : oscillator;
        context->time(now);
    }
    chip->finish();
    top->final();
    return verdict(*chip);
}
