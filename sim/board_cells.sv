// SPDX-License-Identifier: Apache-2.0
//
// The vendors' cells in a board's top: pins, the registers at them, and the ECP5's PLL.
// Delays are none, but for the PLL's clock, which has the period that its dividers make.
timeunit 1ps; timeprecision 1ps;

module IBUF(input wire I, output wire O);
  assign O = I;
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
