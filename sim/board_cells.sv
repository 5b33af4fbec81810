// SPDX-License-Identifier: Apache-2.0
//
// The vendors' cells in a board's top: pins, the registers and SERDES at them, and the PLLs.
// Delays are none, but for clocks of PLLs, which have the period that their dividers make.
timeunit 1ps; timeprecision 1ps;

module IBUF(input wire I, output wire O);
  assign O = I;
endmodule

module OBUF(input wire I, output wire O);
  assign O = I;
endmodule

module OBUFDS(input wire I, output wire O, output wire OB);
  assign O = I;
  assign OB = ~I;
endmodule

module OBUFTDS(input wire I, input wire T, output wire O, output wire OB);
  assign O = T ? 1'bz : I;
  assign OB = T ? 1'bz : ~I;
endmodule

module OBUFT(input wire I, input wire T, output wire O);
  assign O = T ? 1'bz : I;
endmodule

module IOBUF(input wire I, input wire T, output wire O, inout wire IO);
  assign IO = T ? 1'bz : I;
  assign O = IO;
endmodule

module BUFG(input wire I, output wire O);
  assign O = I;
endmodule

module IB(input wire I, output wire O);
  assign O = I;
endmodule

module OBZ(input wire I, input wire T, output wire O);
  assign O = T ? 1'bz : I;
endmodule

module BB(input wire I, input wire T, output wire O, inout wire B);
  assign B = T ? 1'bz : I;
  assign O = B;
endmodule

module OFS1P3DX(input wire D, input wire SCLK, input wire SP, input wire CD, output logic Q);
  initial Q = 0;
  always @(posedge SCLK or posedge CD)
    if (CD) Q <= 0;
    else if (SP) Q <= D;
endmodule

module FD1S3AX(input wire D, input wire CK, output logic Q);
  initial Q = 0;
  always @(posedge CK) Q <= D;
endmodule

module ODDRX1F(input wire D0, input wire D1, input wire SCLK, input wire RST, output wire Q);
  logic first = 0, second = 0;
  always @(posedge SCLK)
    if (RST) {first, second} <= 0;
    else {first, second} <= {D0, D1};
  assign Q = SCLK ? first : second;
endmodule

// The path of feedback is that of CLKOP, as boards.clocking has it.
module EHXPLLL #(
  parameter int CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 1, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0,
  parameter FEEDBK_PATH = "CLKOP", OUTDIVIDER_MUXA = "DIVA", OUTDIVIDER_MUXB = "DIVB",
  parameter OUTDIVIDER_MUXC = "DIVC", OUTDIVIDER_MUXD = "DIVD", CLKOP_ENABLE = "ENABLED",
  parameter PLLRST_ENA = "DISABLED", INTFB_WAKE = "DISABLED", STDBY_ENABLE = "DISABLED",
  parameter DPHASE_SOURCE = "DISABLED"
) (
  input wire CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG,
  input wire PLLWAKESYNC, ENCLKOP,
  output logic CLKOP, output logic LOCK
);
  longint unsigned last = 0, half;
  int edges = 0;
  real vco;

  initial begin
    CLKOP = 0;
    LOCK = 0;
    repeat (3) @(posedge CLKI) begin
      half = ($time - last) * CLKI_DIV / CLKFB_DIV / 2;
      last = $time;
    end
    vco = 1.0e6 / (2.0 * half) * CLKOP_DIV;
    if (vco < 400 || vco > 800)
      $fatal(1, "EHXPLLL: its oscillator must run at 400 to 800 MHz, not %g", vco);
    LOCK = 1;
    forever begin
      #half CLKOP = 1;
      #half CLKOP = 0;
    end
  end
endmodule

// Of the modes, 8 bits at double rate.  UG471: D1 is the first bit, and leaves four periods of CLK,
// one of CLKDIV, after that took it.
module OSERDESE2 #(
  parameter DATA_RATE_OQ = "DDR", DATA_RATE_TQ = "BUF", SERDES_MODE = "MASTER",
  parameter int DATA_WIDTH = 8, TRISTATE_WIDTH = 1
) (
  input wire CLK, CLKDIV, RST, OCE, D1, D2, D3, D4, D5, D6, D7, D8, TCE, T1,
  output wire OQ, TQ
);
  logic [7:0] next = 0, sent = 0;
  logic [2:0] slot = 0;
  logic was = 0;

  always @(CLK) begin
    was <= CLKDIV;
    slot <= slot + 1;
    if (CLKDIV & ~was) begin
      slot <= 0;
      sent <= RST ? 0 : next;
      next <= RST ? 0 : {D8, D7, D6, D5, D4, D3, D2, D1};
    end
  end
  assign OQ = sent[slot];
  assign TQ = T1;
endmodule

// Q8 is the earliest bit.  A word is at Q one period of CLKDIV after its last bit.
module ISERDESE2 #(
  parameter DATA_RATE = "DDR", INTERFACE_TYPE = "NETWORKING", SERDES_MODE = "MASTER",
  parameter IOBDELAY = "NONE",
  parameter int DATA_WIDTH = 8, NUM_CE = 1, IS_CLKB_INVERTED = 1
) (
  input wire CLK, CLKB, CLKDIV, RST, CE1, BITSLIP, D,
  output wire Q1, Q2, Q3, Q4, Q5, Q6, Q7, Q8
);
  logic [7:0] came = 0, whole = 0, shown = 0;
  logic was = 0;

  always @(CLK) begin
    was <= CLKDIV;
    came <= {came[6:0], D};
    if (CLKDIV & ~was) begin
      whole <= RST ? 0 : {came[6:0], D};
      shown <= RST ? 0 : whole;
    end
  end
  assign {Q8, Q7, Q6, Q5, Q4, Q3, Q2, Q1} = shown;
endmodule

// Two clocks that rise together, of an oscillator fed back to itself, as boards.clocking has it.
module PLLE2_ADV #(
  parameter real CLKIN1_PERIOD = 0,
  parameter int DIVCLK_DIVIDE = 1, CLKFBOUT_MULT = 5, CLKOUT0_DIVIDE = 1, CLKOUT1_DIVIDE = 1
) (
  input wire CLKIN1, CLKINSEL, CLKFBIN, RST, PWRDWN,
  output logic CLKFBOUT, CLKOUT0, CLKOUT1, LOCKED
);
  longint unsigned last = 0, period, half;
  real vco;

  initial begin
    {CLKFBOUT, CLKOUT0, CLKOUT1, LOCKED} = 0;
    repeat (3) @(posedge CLKIN1) begin
      period = $time - last;
      last = $time;
    end
    vco = 1.0e6 / period * CLKFBOUT_MULT / DIVCLK_DIVIDE;
    if (vco < 800 || vco > 1600)
      $fatal(1, "PLLE2_ADV: its oscillator must run at 800 to 1600 MHz, not %g", vco);
    half = period * DIVCLK_DIVIDE * CLKOUT1_DIVIDE / CLKFBOUT_MULT / 2;
    LOCKED = 1;
    forever begin
      {CLKOUT0, CLKOUT1} = {~CLKOUT0, ~CLKOUT1};
      repeat (CLKOUT0_DIVIDE / CLKOUT1_DIVIDE - 1) #half CLKOUT1 = ~CLKOUT1;
      #half;
    end
  end
endmodule
