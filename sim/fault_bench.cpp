// SPDX-License-Identifier: Apache-2.0
// The accelerator as a peripheral (hw.soc.PeripheralTop), its host and its memories, with faults.
// Arguments: file of samples (one hexadecimal number a word) of an inference, then for each memory
// port a file of what the memory holds and its size in bytes.  Commands come line by line on the
// standard input and are answered by a line each:
//   vars                    number of variables, then a line each: number name bits words
//   arm read PORT N         the N-th beat from now on that PORT reads has the response SLVERR
//   arm write PORT N        likewise the N-th answer to a write burst
//   arm mute N              N cycles after the next inference's first sample no memory answers any more
//   arm flip N VAR WORD BIT likewise a bit of the state flips
//   flip VAR WORD BIT       at once
//   infer LIMIT             an inference: END STATUS CYCLES WORD..., CYCLES from its first sample on,
//                           where END is 0 (the last word has come), 1 (it did not within LIMIT
//                           cycles, but interrupt and status tell of a fault) or 2 (it did not); it
//                           takes with it what was armed
//   begin N                 only the first N cycles of one: 0 STATUS N
//   reset FORCED LIMIT      by the register: its cycles, or -1 if it does not end
//   mute 0|1                the memories answer, or not
//   forget                  the memories lose what was asked of them
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#ifdef WITH_STATE
#include "verilated_syms.h"
#endif

double sc_time_stamp() { return 0; }

namespace {

constexpr uint32_t kControl = 0x40, kStatus = 0x44, kAddresses = 0x50;
constexpr uint32_t kReset = 1, kUsual = 2 | 4 | 8, kForced = 16, kResetting = 8, kFaults = 0xf00;
constexpr int kOkay = 0, kSlvErr = 2, kDecErr = 3, kLatency = 12;

// A memory of 64-bit beats: in order, after some cycles, a beat a cycle.  Where there is none, which
// only a flipped address asks for, the response is DECERR as an interconnect gives it.
struct Ram {
    CData *arvalid, *arready, *arlen, *rvalid, *rready, *rlast, *rresp;
    IData* araddr;
    QData* rdata;
    CData *awvalid = nullptr, *awready, *awlen, *wvalid, *wready, *wlast, *bvalid, *bready, *bresp;
    IData* awaddr;
    QData* wdata;
    std::vector<uint64_t> words;
    struct Burst { uint64_t from; uint32_t place; int left; bool refused = false; };
    std::deque<Burst> reads, writes;
    std::deque<int> answers;   // responses of bursts that were written
    int64_t readError = -1, writeError = -1;   // beats until then

    bool has(uint32_t place) const { return place / 8 < words.size(); }
    void drive(bool mute, uint64_t cycle) {
        *arready = !mute;
        *rvalid = !mute && !reads.empty() && reads.front().from <= cycle;
        if (*rvalid) {
            const uint32_t place = reads.front().place;
            *rdata = has(place) ? words[place / 8] : 0;
            *rlast = reads.front().left == 1;
            *rresp = !has(place) ? kDecErr : readError == 1 ? kSlvErr : kOkay;
        }
        if (!awvalid) return;
        *awready = !mute;
        *wready = !mute && !writes.empty();
        *bvalid = !mute && !answers.empty();
        if (*bvalid) *bresp = writeError == 1 ? kSlvErr : answers.front();
    }
    // What moves at the end of this cycle.
    void look(uint64_t cycle) {
        if (*rvalid && *rready) {
            readError -= readError > 0;
            reads.front().place += 8;
            if (--reads.front().left == 0) reads.pop_front();
        }
        if (*arvalid && *arready) reads.push_back({cycle + kLatency, *araddr, *arlen + 1});
        if (!awvalid) return;
        if (*bvalid && *bready) {
            writeError -= writeError > 0;
            answers.pop_front();
        }
        if (*wvalid && *wready) {
            Burst& burst = writes.front();
            if (has(burst.place)) words[burst.place / 8] = *wdata;
            else burst.refused = true;
            burst.place += 8;
            if (--burst.left == 0) {
                answers.push_back(burst.refused ? kDecErr : kOkay);
                writes.pop_front();
            }
        }
        if (*awvalid && *awready) writes.push_back({0, *awaddr, *awlen + 1});
    }
    void forget() {
        reads.clear();
        writes.clear();
        answers.clear();
    }
};

struct Flip { uint64_t cycle; size_t variable, word, bit; };

#ifdef WITH_STATE
struct Variable { std::string name; VerilatedVar* var; size_t bits, words, size; };

// Those that were made public: registers and memories, in an order that is always the same.
std::vector<Variable> variables(VerilatedContext& context) {
    std::vector<Variable> found;
    for (const auto& [name, scope] : *context.scopeNameMap()) {
        if (!scope->varsp()) continue;
        for (auto& [variable, var] : *scope->varsp()) {
            size_t words = 1;
            for (const auto& range : var.unpackedRanges()) words *= range.elements();
            const size_t bits = var.entBits();
            found.push_back({std::string(name) + "." + variable, &var, bits, words,
                var.entSize()});
        }
    }
    return found;
}
#endif

struct Bench {
    VerilatedContext context;
    Vtop top{&context};
    std::vector<Ram> rams;
    std::vector<uint32_t> samples;
    std::vector<Flip> flips;
    int64_t muteAt = -1;
    bool mute = false;
    uint64_t cycle = 0, begun = 0;
    size_t sent = ~size_t{0};     // samples of the inference; none is under way if too many
    std::vector<uint64_t> words;
    bool ended = false;
#ifdef WITH_STATE
    std::vector<Variable> state;
#endif

    void flip(const Flip& flip) {
#ifdef WITH_STATE
        const Variable& it = state.at(flip.variable);
        auto* bytes = static_cast<uint8_t*>(it.var->datap()) + flip.word * it.size;
        bytes[flip.bit / 8] ^= static_cast<uint8_t>(1 << flip.bit % 8);
#endif
    }
    void step() {
        for (Ram& ram : rams) ram.drive(mute, cycle);
        top.s_axis_tvalid = sent < samples.size();
        if (top.s_axis_tvalid) {
            top.s_axis_tdata = samples[sent];
            top.s_axis_tlast = sent + 1 == samples.size();
        }
        top.m_axis_tready = 1;
        top.aclk = 0;
        top.eval();
        const uint64_t now = cycle - begun;
        if (begun) {
            if (muteAt >= 0 && now >= uint64_t(muteAt)) mute = true, muteAt = -1;
            for (const Flip& each : flips) {
                if (each.cycle == now) {
                    flip(each);
                    top.eval();
                }
            }
        }
        for (Ram& ram : rams) ram.look(cycle);
        if (top.s_axis_tvalid && top.s_axis_tready) {
            if (!begun) begun = cycle;
            ++sent;
        }
        if (top.m_axis_tvalid) {
            words.push_back(top.m_axis_tdata);
            ended |= top.m_axis_tlast;
        }
        top.aclk = 1;
        top.eval();
        ++cycle;
    }
    void write(uint32_t address, uint32_t value) {
        top.s_axi_awaddr = address, top.s_axi_wdata = value, top.s_axi_wstrb = 15;
        top.s_axi_awvalid = top.s_axi_wvalid = 1;
        for (bool taken = false; !taken;) {
            top.aclk = 0;
            top.eval();
            taken = top.s_axi_awready;
            step();
        }
        top.s_axi_awvalid = top.s_axi_wvalid = 0;
        top.s_axi_bready = 1;
        step();
        step();
        top.s_axi_bready = 0;
    }
    uint32_t read(uint32_t address) {
        top.s_axi_araddr = address, top.s_axi_arvalid = 1;
        step();
        top.s_axi_arvalid = 0;
        while (!top.s_axi_rvalid) step();
        const uint32_t value = top.s_axi_rdata;
        top.s_axi_rready = 1;
        step();
        top.s_axi_rready = 0;
        return value;
    }
    void start() {
        top.aresetn = 0;
        for (int n = 0; n < 4; ++n) step();
        top.aresetn = 1;
        for (size_t n = 0; n < rams.size(); ++n) write(kAddresses + 4 * n, 0);
        write(kControl, kUsual);
    }
    void infer(uint64_t limit, bool whole) {
        sent = 0, begun = 0, ended = false;
        words.clear();
        const uint64_t first = cycle;
        // A fault does not end it: no answer may follow.
        while (!ended && cycle - first < limit) step();
        const uint64_t cycles = cycle - (begun ? begun : first);
        sent = ~size_t{0}, begun = 0, muteAt = -1;
        flips.clear();
        for (Ram& ram : rams) ram.readError = ram.writeError = -1;
        // Verilator changes the name, which is a word of some C++ compilers.
        const bool told = top.__SYM__interrupt;
        const uint32_t status = read(kStatus);
        std::printf("%d %u %llu", !whole || ended ? 0 : told && (status & kFaults) ? 1 : 2, status,
            (unsigned long long)cycles);
        for (uint64_t word : words) std::printf(" %llx", (unsigned long long)word);
        std::printf("\n");
    }
    void reset(bool forced, uint64_t limit) {
        const uint64_t first = cycle;
        write(kControl, kUsual | kReset | (forced ? kForced : 0));
        while ((read(kStatus) & kResetting) && cycle - first < limit) {}
        const bool done = !(read(kStatus) & kResetting);
        std::printf("%lld\n", done ? (long long)(cycle - first) : -1LL);
    }
    bool command(const std::string& line) {
        std::istringstream in(line);
        std::string word, kind;
        uint64_t a = 0, b = 0, c = 0, d = 0;
        in >> word;
        if (word == "arm") {
            in >> kind >> a >> b >> c >> d;
            if (kind == "read") rams.at(a).readError = b;
            if (kind == "write") rams.at(a).writeError = b;
            if (kind == "mute") muteAt = a;
            if (kind == "flip") flips.push_back({a, b, c, d});
        } else {
            in >> a >> b >> c;
            if (word == "infer") return infer(a, true), true;
            if (word == "begin") return infer(a, false), true;
            if (word == "reset") return reset(a != 0, b), true;
            if (word == "mute") mute = a != 0;
            if (word == "flip") flip({0, a, b, c});
            if (word == "forget") for (Ram& ram : rams) ram.forget();
#ifdef WITH_STATE
            if (word == "vars") {
                std::printf("%zu\n", state.size());
                for (size_t n = 0; n < state.size(); ++n)
                    std::printf("%zu %zu %zu %s\n", n, state[n].bits, state[n].words,
                        state[n].name.c_str());
                return true;
            }
#endif
        }
        std::printf("ok\n");
        return true;
    }
};

#define READ_PORT(P)                                                                              \
    ram.arvalid = &top.P##_arvalid, ram.arready = &top.P##_arready, ram.arlen = &top.P##_arlen,   \
    ram.rvalid = &top.P##_rvalid, ram.rready = &top.P##_rready, ram.rlast = &top.P##_rlast,       \
    ram.rresp = &top.P##_rresp, ram.araddr = &top.P##_araddr, ram.rdata = &top.P##_rdata
#define WRITE_PORT(P)                                                                             \
    ram.awvalid = &top.P##_awvalid, ram.awready = &top.P##_awready, ram.awlen = &top.P##_awlen,   \
    ram.wvalid = &top.P##_wvalid, ram.wready = &top.P##_wready, ram.wlast = &top.P##_wlast,       \
    ram.bvalid = &top.P##_bvalid, ram.bready = &top.P##_bready, ram.bresp = &top.P##_bresp,       \
    ram.awaddr = &top.P##_awaddr, ram.wdata = &top.P##_wdata

std::vector<Ram> ports(Vtop& top) {
    std::vector<Ram> rams;
    Ram ram;
#ifdef WITH_WEIGHTS
    READ_PORT(m_axi_weights);
    rams.push_back(ram);
#endif
#ifdef WITH_RESIDUAL
    READ_PORT(m_axi_residual), WRITE_PORT(m_axi_residual);
    rams.push_back(ram);
#endif
#ifdef WITH_MAPS
    READ_PORT(m_axi_maps), WRITE_PORT(m_axi_maps);
    rams.push_back(ram);
#endif
    return rams;
}

}  // namespace

int main(int argc, char** argv) {
    const auto bench = std::make_unique<Bench>();
    bench->context.randReset(0);
    std::ifstream file(argc > 1 ? argv[1] : "");
    for (std::string word; file >> word;)
        bench->samples.push_back(std::strtoul(word.c_str(), nullptr, 16));
    bench->rams = ports(bench->top);
    if (bench->samples.empty() || size_t(argc) < 2 + 2 * bench->rams.size()) {
        std::fprintf(stderr, "error: samples and memories are missing\n");
        return 2;
    }
    for (size_t n = 0; n < bench->rams.size(); ++n) {
        std::ifstream image(argv[2 + 2 * n], std::ios::binary);
        std::vector<char> data{std::istreambuf_iterator<char>(image), {}};
        data.resize((std::strtoull(argv[3 + 2 * n], nullptr, 0) + 7) / 8 * 8);
        auto* from = reinterpret_cast<const uint64_t*>(data.data());
        bench->rams[n].words.assign(from, from + data.size() / 8);
    }
    bench->start();
#ifdef WITH_STATE
    bench->state = variables(bench->context);
#endif
    for (std::string line; std::getline(std::cin, line);) {
        bench->command(line);
        std::fflush(stdout);
    }
    bench->top.final();
    return 0;
}
