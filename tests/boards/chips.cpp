// SPDX-License-Identifier: Apache-2.0
// The chip models of sim/ as a library with C functions, for Python (tests/boards/chips.py).
#include "ddr3_chip.h"
#include "flash_chip.h"
#include "sdram_chip.h"

namespace {

template <class Items, class Text>
std::string list(const Items& items, Text text) {
    std::string all;
    for (const auto& item : items) all += (all.empty() ? "" : ", ") + text(item);
    return "[" + all + "]";
}

std::string quoted(const std::string& sentence) { return '"' + sentence + '"'; }
std::string number(unsigned value) { return std::to_string(value); }

std::string report;

// A DDR3 chip behind pads as those of boards/ddr3_pads.py: eight slots a cycle, two cycles there
// and two back.
struct Ddr3Board {
    struct Word { bool rst, cke, ras, cas, we, oe, dqs; unsigned ba, a, dm, dq; };
    static constexpr int kSlots = 8;
    Ddr3Chip chip;
    bool absent;
    int late;  // slots by which the strobe comes after its time
    Word sent[3] = {{true}, {true}, {true}};
    uint8_t came[3][16] = {};

    // The pins' cycle that begins at `ns`; `word` is in the controller's registers.
    void cycle(double ns, double period, const Word& word) {
        sent[2] = sent[1], sent[1] = sent[0], sent[0] = word;
        const Word& now = sent[2];
        std::copy(came[1], came[1] + 16, came[2]), std::copy(came[0], came[0] + 16, came[1]);
        std::fill(came[0], came[0] + 16, 0);
        for (int slot = 0; slot < kSlots; ++slot) {
            Ddr3Chip::Pins pins;
            pins.ck = slot >= 2 && slot < 6;
            pins.resetN = !now.rst, pins.cke = now.cke, pins.csN = false;
            pins.rasN = !now.ras, pins.casN = !now.cas, pins.weN = !now.we;
            pins.ba = now.ba, pins.a = now.a, pins.dm = now.dm;
            pins.dq = (slot < 4 ? now.dq : now.dq >> 16) & 0xFFFF;
            pins.dqs = now.dqs && slot >= 2 + late && slot < 6 + late ? 3 : 0;
            pins.drivenDq = pins.drivenDqs = now.oe;
            chip.see(ns + slot * period / kSlots, pins);
            const unsigned data = absent ? 0 : chip.output(ns + (slot + 1) * period / kSlots);
            for (int bit = 0; bit < 16; ++bit) came[0][bit] |= (data >> bit & 1) << slot;
        }
    }
};

}  // namespace

extern "C" {

FlashChip* flash_new(unsigned configuration, unsigned status, double writeNs) {
    return new FlashChip(configuration, status, writeNs);
}
void flash_delete(FlashChip* chip) { delete chip; }
void flash_load(FlashChip* chip, unsigned address, const uint8_t* data, unsigned size) {
    chip->load(address, data, size);
}
void flash_see(FlashChip* chip, double ns, int csN, int sck, unsigned dq, unsigned driven) {
    chip->see(ns, {csN != 0, sck != 0, dq, driven});
}
unsigned flash_output(FlashChip* chip, double ns) { return chip->output(ns); }
const char* flash_report(FlashChip* chip) {
    report = "{\"faults\": " + list(chip->faults, quoted) + ", \"reads\": " + list(chip->reads,
        number) +
             ", \"commands\": " + list(chip->commands, number) +
             ", \"configuration\": " + number(chip->configuration) +
             ", \"status\": " + number(chip->status) + "}";
    return report.c_str();
}

SdramChip* sdram_new(double powerUp, double flight) { return new SdramChip(powerUp, flight); }
void sdram_delete(SdramChip* chip) { delete chip; }
void sdram_put(SdramChip* chip, unsigned place, unsigned word) { chip->words[place] = word; }
int sdram_get(SdramChip* chip, unsigned place) {
    const auto found = chip->words.find(place);
    return found == chip->words.end() ? -1 : found->second;
}
// command: ras, cas and we, true when high
void sdram_see(SdramChip* chip, double ns, int clock, int command, unsigned ba, unsigned a,
               unsigned dq, int driven) {
    chip->see(ns, clock != 0, {true, false, !(command & 4), !(command & 2), !(command & 1), ba,
        a, 0,
                               dq, driven != 0});
}
unsigned sdram_output(SdramChip* chip, double ns) { return chip->output(ns); }
void sdram_finish(SdramChip* chip) { chip->finish(); }
const char* sdram_report(SdramChip* chip) {
    report = "{\"faults\": " + list(chip->faults, quoted) +
             ", \"refreshes\": " + number(chip->refreshes) +
             ", \"commands\": " + list(chip->commands,
                 [](const auto& each) { return number(each.code); }) + "}";
    return report.c_str();
}

Ddr3Board* ddr3_new(double powerUp, double wakeUp, double access, double flight, int absent,
                    int late) {
    return new Ddr3Board{{powerUp, wakeUp, access, flight}, absent != 0, late};
}
void ddr3_delete(Ddr3Board* board) { delete board; }
void ddr3_put(Ddr3Board* board, unsigned place, unsigned word) { board->chip.words[place] = word; }
int ddr3_get(Ddr3Board* board, unsigned place) {
    const auto found = board->chip.words.find(place);
    return found == board->chip.words.end() ? -1 : found->second;
}
// flags: rst, cke, ras, cas, we, oe, dqs from bit 0 on.  Returns what stands at the controller's
// inputs in this cycle.
const uint8_t* ddr3_cycle(Ddr3Board* board, double ns, double period, unsigned flags, unsigned ba,
                          unsigned a, unsigned dm, unsigned dq) {
    const auto bit = [&](int n) { return (flags >> n & 1) != 0; };
    board->cycle(ns, period, {bit(0), bit(1), bit(2), bit(3), bit(4), bit(5), bit(6), ba, a, dm,
        dq});
    return board->came[2];
}
void ddr3_finish(Ddr3Board* board) { board->chip.finish(); }
const char* ddr3_report(Ddr3Board* board) {
    report = "{\"faults\": " + list(board->chip.faults, quoted) +
             ", \"refreshes\": " + number(board->chip.refreshes) +
             ", \"commands\": " + list(board->chip.commands,
                 [](const auto& each) { return number(each.code); }) + "}";
    return report.c_str();
}

}  // extern "C"
