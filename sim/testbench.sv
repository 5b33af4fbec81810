// SPDX-License-Identifier: Apache-2.0
//
// Runs the accelerator without anybody in its inner loop: clock, reset, input, output, trace and
// watchdog are all here.  It ends with `done`, and with `stalled` if the watchdog fired.
//
// Plusargs:
//   +inputs=FILE    samples, one hexadecimal number a line
//   +samples=N      how many of them
//   +words=N        output words to wait for
//   +spikes=FILE    trace of spikes, one line a word: layer position timestep word data
//   +residual=FILE  trace of the residual stream, likewise
//   +outputs=FILE   output words: inference last data cycle; then one line
//                   "end" stalled cycles samples outputs
//   +layers=FILE    one line when a layer is done: inference layer acs cycles saturations, then how
//                   many lines of spikes and of residual there are by then, then its cycles that
//                   were idle, compute, weight wait, fill and drain, then its events
//   +activity=FILE  one line when an inference is done: cycle of its first sample and of its last
//                   output word, then its cycles by the same four
//   +gaps=SEED      not 0: pseudo-random pauses at the input and at the output
//   +watchdog=N     cycles without any transfer or trace word after which the run is given up
//   +waves=FILE     where compiled with --trace
//   +finish         call $finish when done
// and where the accelerator has memory ports (WEIGHT_PORT is defined):
//   +weights=FILE   image of the weight memory
//   +latency=N      cycles from a read request to its first beat
//   +stalls=SEED    not 0: pseudo-random pauses on all memory channels
//   +traffic=FILE   one line a port at the end of each inference: name, then since the start of
//                   the run beats and bursts read, beats and bursts written
// and where PRELOAD is defined:
//   +preload=DIR    the run begins in the middle of a network, with what the layers before left in
//                   the memories: DIR holds $readmemh files of each, and images `maps`, `residual`
module testbench #(
  parameter int INPUT_BITS = 8,
  parameter int PORT_BITS = 64,
  parameter int SPIKE_BITS = 32,
  parameter int RESIDUAL_BITS = 128
);
  timeunit 1ns; timeprecision 1ns;

  // The only signals that the simulator must keep for others to see.
  logic done /*verilator public_flat_rd*/ = 0;
  logic stalled /*verilator public_flat_rd*/ = 0;

  logic clk = 0, rst = 1;
  always #1 clk = !clk;

  logic [INPUT_BITS-1:0] i_payload = '0;
  logic i_valid = 0;
  wire i_ready;
  wire [64:0] o_payload;
  wire o_valid;
  logic o_ready = 0;
  wire [3:0] spikes_valid;  // by word of a line
  wire residual_valid;
  wire [7:0] spikes_layer, residual_layer, spikes_word, residual_word;
  wire [15:0] spikes_position, residual_position;
  wire [4:0] spikes_timestep, residual_timestep;
  wire [4*SPIKE_BITS-1:0] spikes_data;
  wire [RESIDUAL_BITS-1:0] residual_data;
  wire [1:0] activity;         // hw.activity.Activity
  wire activity_clear;
  wire [15:0] activity_events; // wide enough for any number of slots

`ifdef WEIGHT_PORT
  wire [44:0] weights_ar;
  wire weights_ar_valid, weights_ar_ready, weights_r_valid, weights_r_ready;
  wire [PORT_BITS+2:0] weights_r;
  logic [31:0] latency = 0, stalls = 0;
  int traffic_file;
  axi_ram #(.DATA_BITS(PORT_BITS), .NAME("weights")) weights (
    .clk(clk), .rst(rst), .latency(latency), .stalls(stalls),
    .ar(weights_ar), .ar_valid(weights_ar_valid), .ar_ready(weights_ar_ready),
    .r(weights_r), .r_valid(weights_r_valid), .r_ready(weights_r_ready),
    .aw('0), .aw_valid(1'b0), .aw_ready(), .w('0), .w_valid(1'b0), .w_ready(),
    .b(), .b_valid(), .b_ready(1'b0)
  );
`endif

`ifdef RESIDUAL_PORT
  wire [44:0] residual_ar, residual_aw;
  wire residual_ar_valid, residual_ar_ready, residual_r_valid, residual_r_ready;
  wire residual_aw_valid, residual_aw_ready, residual_w_valid, residual_w_ready;
  wire residual_b_valid, residual_b_ready;
  wire [PORT_BITS+2:0] residual_r;
  wire [PORT_BITS:0] residual_w;
  wire [1:0] residual_b;
  axi_ram #(.DATA_BITS(PORT_BITS), .NAME("residual")) residual_ram (
    .clk(clk), .rst(rst), .latency(latency), .stalls(stalls == 0 ? 0 : stalls + 1),
    .ar(residual_ar), .ar_valid(residual_ar_valid), .ar_ready(residual_ar_ready),
    .r(residual_r), .r_valid(residual_r_valid), .r_ready(residual_r_ready),
    .aw(residual_aw), .aw_valid(residual_aw_valid), .aw_ready(residual_aw_ready),
    .w(residual_w), .w_valid(residual_w_valid), .w_ready(residual_w_ready),
    .b(residual_b), .b_valid(residual_b_valid), .b_ready(residual_b_ready)
  );
`endif

`ifdef MAPS_PORT
  wire [44:0] maps_ar, maps_aw;
  wire maps_ar_valid, maps_ar_ready, maps_r_valid, maps_r_ready;
  wire maps_aw_valid, maps_aw_ready, maps_w_valid, maps_w_ready;
  wire maps_b_valid, maps_b_ready;
  wire [PORT_BITS+2:0] maps_r;
  wire [PORT_BITS:0] maps_w;
  wire [1:0] maps_b;
  axi_ram #(.DATA_BITS(PORT_BITS), .NAME("maps")) maps_ram (
    .clk(clk), .rst(rst), .latency(latency), .stalls(stalls == 0 ? 0 : stalls + 2),
    .ar(maps_ar), .ar_valid(maps_ar_valid), .ar_ready(maps_ar_ready),
    .r(maps_r), .r_valid(maps_r_valid), .r_ready(maps_r_ready),
    .aw(maps_aw), .aw_valid(maps_aw_valid), .aw_ready(maps_aw_ready),
    .w(maps_w), .w_valid(maps_w_valid), .w_ready(maps_w_ready),
    .b(maps_b), .b_valid(maps_b_valid), .b_ready(maps_b_ready)
  );
`endif

  accelerator dut (
`ifdef RESIDUAL_PORT
    .residual_address(32'd0),
    .residual__read__ar__payload(residual_ar), .residual__read__ar__valid(residual_ar_valid),
    .residual__read__ar__ready(residual_ar_ready),
    .residual__read__r__payload(residual_r), .residual__read__r__valid(residual_r_valid),
    .residual__read__r__ready(residual_r_ready),
    .residual__write__aw__payload(residual_aw), .residual__write__aw__valid(residual_aw_valid),
    .residual__write__aw__ready(residual_aw_ready),
    .residual__write__w__payload(residual_w), .residual__write__w__valid(residual_w_valid),
    .residual__write__w__ready(residual_w_ready),
    .residual__write__b__payload(residual_b), .residual__write__b__valid(residual_b_valid),
    .residual__write__b__ready(residual_b_ready),
`endif
`ifdef MAPS_PORT
    .maps_address(32'd0),
    .maps__read__ar__payload(maps_ar), .maps__read__ar__valid(maps_ar_valid),
    .maps__read__ar__ready(maps_ar_ready),
    .maps__read__r__payload(maps_r), .maps__read__r__valid(maps_r_valid),
    .maps__read__r__ready(maps_r_ready),
    .maps__write__aw__payload(maps_aw), .maps__write__aw__valid(maps_aw_valid),
    .maps__write__aw__ready(maps_aw_ready),
    .maps__write__w__payload(maps_w), .maps__write__w__valid(maps_w_valid),
    .maps__write__w__ready(maps_w_ready),
    .maps__write__b__payload(maps_b), .maps__write__b__valid(maps_b_valid),
    .maps__write__b__ready(maps_b_ready),
`endif
`ifdef WEIGHT_PORT
    .enable(1'b1), .bad_image(), .faults(), .weights_address(32'd0),
    .weights__ar__payload(weights_ar), .weights__ar__valid(weights_ar_valid),
    .weights__ar__ready(weights_ar_ready), .weights__r__payload(weights_r),
    .weights__r__valid(weights_r_valid), .weights__r__ready(weights_r_ready),
`endif
    .clk(clk), .rst(rst),
    .i__payload(i_payload), .i__valid(i_valid), .i__ready(i_ready),
    .o__payload(o_payload), .o__valid(o_valid), .o__ready(o_ready),
    .trace_spikes__valid(spikes_valid), .trace_spikes__layer(spikes_layer),
    .trace_spikes__position(spikes_position), .trace_spikes__timestep(spikes_timestep),
    .trace_spikes__word(spikes_word), .trace_spikes__data(spikes_data),
    .trace_residual__valid(residual_valid), .trace_residual__layer(residual_layer),
    .trace_residual__position(residual_position), .trace_residual__timestep(residual_timestep),
    .trace_residual__word(residual_word), .trace_residual__data(residual_data),
    .trace_activity__kind(activity), .trace_activity__clear(activity_clear),
    .trace_activity__events(activity_events)
  );

  string inputs_name, spikes_name, residual_name, outputs_name, layers_name, activity_name;
  string waves_name;
  int inputs_file, spikes_file, residual_file, outputs_file, layers_file, activity_file;
  // Cycles by activity: of the layer, and of the inference from its first sample on.
  longint unsigned spent[4], spent_in_all[4], events = 0, first_sample = 0;
  logic begun = 0;
  longint unsigned spike_lines = 0, residual_lines = 0;
  longint unsigned samples = 0, words = 0, watchdog = 200000;
  longint unsigned cycle = 0, sent = 0, received = 0, idle = 0;
  // After the last output word the run goes on for a moment, to catch words that are too many.  A
  // program without input would begin anew.
  int unsigned linger = 0, linger_end = 256;
  logic [31:0] inference = 0, gaps = 0, noise = 1;

  initial begin
    void'($value$plusargs("inputs=%s", inputs_name));
    void'($value$plusargs("spikes=%s", spikes_name));
    void'($value$plusargs("residual=%s", residual_name));
    void'($value$plusargs("outputs=%s", outputs_name));
    void'($value$plusargs("layers=%s", layers_name));
    void'($value$plusargs("activity=%s", activity_name));
    void'($value$plusargs("samples=%d", samples));
    void'($value$plusargs("words=%d", words));
    void'($value$plusargs("watchdog=%d", watchdog));
    void'($value$plusargs("gaps=%d", gaps));
    noise = gaps | 1;
`ifdef WEIGHT_PORT
    begin
      string name, earlier = "";
      longint unsigned size = 0;
      void'($value$plusargs("preload=%s", earlier));
      void'($value$plusargs("latency=%d", latency));
      void'($value$plusargs("stalls=%d", stalls));
      void'($value$plusargs("weights=%s", name));
      void'($value$plusargs("weights_bytes=%d", size));
      weights.load(name, size);
      void'($value$plusargs("traffic=%s", name));
      traffic_file = $fopen(name, "w");
`ifdef RESIDUAL_PORT
      size = 0;
      void'($value$plusargs("residual_bytes=%d", size));
      residual_ram.load(earlier == "" ? "" : {earlier, "/residual"}, size);
`endif
`ifdef MAPS_PORT
      size = 0;
      void'($value$plusargs("maps_bytes=%d", size));
      maps_ram.load(earlier == "" ? "" : {earlier, "/maps"}, size);
`endif
    end
`endif
    inputs_file = $fopen(inputs_name, "r");
    spikes_file = $fopen(spikes_name, "w");
    residual_file = $fopen(residual_name, "w");
    outputs_file = $fopen(outputs_name, "w");
    layers_file = $fopen(layers_name, "w");
    activity_file = $fopen(activity_name, "w");
    for (int n = 0; n < 4; n++) begin
      spent[n] = 0;
      spent_in_all[n] = 0;
    end
    if ($value$plusargs("waves=%s", waves_name)) begin
      $dumpfile(waves_name);
      $dumpvars(0, testbench);
    end
  end

`ifdef PRELOAD
  initial begin
    string earlier;
    if ($value$plusargs("preload=%s", earlier)) begin
      linger_end = 1;
      #2;  // after the memories' own initial contents, before the end of reset
`define HALF(N) \
      $readmemh({earlier, `"/half``N``bank0`"}, dut.memory.half``N``bank0); \
      $readmemh({earlier, `"/half``N``bank1`"}, dut.memory.half``N``bank1); \
      $readmemh({earlier, `"/half``N``bank2`"}, dut.memory.half``N``bank2); \
      $readmemh({earlier, `"/half``N``bank3`"}, dut.memory.half``N``bank3);
      `HALF(0)
      `HALF(1)
`ifndef WEIGHT_PORT
      $readmemh({earlier, "/program"}, dut.sequencer.\program );
`endif
`ifndef RESIDUAL_PORT
      $readmemh({earlier, "/residual"}, dut.finish.residual.\stream );
`endif
      $readmemh({earlier, "/sums"}, dut.finish.token_sum.sums);
    end
  end
`endif

  // A transfer in this cycle.
  wire i_fire = i_valid && i_ready;
  wire o_fire = o_valid && o_ready;
  // xorshift32; its bits decide about pauses, in runs as well as single cycles.
  wire [31:0] noise1 = noise ^ (noise << 13);
  wire [31:0] noise2 = noise1 ^ (noise1 >> 17);
  wire i_pause = gaps != 0 && (noise[0] || noise[8:6] == 0);
  wire o_pause = gaps != 0 && (noise[1] || noise[15:12] == 0);

  logic [INPUT_BITS-1:0] next_sample;

  always @(posedge clk) begin
    cycle <= cycle + 1;
    noise <= noise2 ^ (noise2 << 5);
    if (cycle == 3) rst <= 0;
    if (!rst && !done) begin
      // Input: `valid` falls only after a transfer, and the payload stands while it waits.
      if (i_fire) i_valid <= 0;
      if ((i_fire || !i_valid) && !i_pause && sent < samples) begin
        if ($fscanf(inputs_file, "%h", next_sample) != 1) $fatal(1, "inputs file is too short");
        i_payload <= next_sample;
        i_valid <= 1;
        sent <= sent + 1;
      end
      o_ready <= !o_pause;

      for (int n = 0; n < 4; n++)
        if (spikes_valid[n]) begin
          $fwrite(spikes_file, "%h %h %h %h %h\n", spikes_layer, spikes_position,
                  {3'b0, spikes_timestep}, spikes_word + 8'(n),
                  spikes_data[n*SPIKE_BITS +: SPIKE_BITS]);
          spike_lines = spike_lines + 1;
        end
      if (residual_valid) begin
        $fwrite(residual_file, "%h %h %h %h %h\n", residual_layer, residual_position,
                {3'b0, residual_timestep}, residual_word, residual_data);
        residual_lines = residual_lines + 1;
      end
      // Where the accelerator keeps a layer's counters; somebody may be reading along.
      if (dut.readout.report) begin
        $fflush(spikes_file);
        $fflush(residual_file);
        $fwrite(layers_file, "%0d %0d %0d %0d %0d %0d %0d %0d %0d %0d %0d %0d\n", inference,
                spikes_layer, dut.readout.acs, dut.readout.cycles, dut.readout.saturations,
                spike_lines, residual_lines, spent[0], spent[1], spent[2], spent[3], events);
        $fflush(layers_file);
      end
      // The cycle between two layers is in no layer's counter.
      spent[activity] = spent[activity] + 1;
      events = events + 64'(activity_events);
      if (activity_clear) begin
        for (int n = 0; n < 4; n++) spent[n] = 0;
        events = 0;
      end
      if (i_fire && !begun) begin
        begun = 1;
        first_sample = cycle;
      end
      if (begun) spent_in_all[activity] = spent_in_all[activity] + 1;
      if (o_fire) begin
        $fwrite(outputs_file, "%h %h %h %h\n", inference, o_payload[64], o_payload[63:0], cycle);
        received <= received + 1;
        if (o_payload[64]) begin
          inference <= inference + 1;
          $fwrite(activity_file, "%0d %0d %0d %0d %0d %0d\n", first_sample, cycle,
                  spent_in_all[0], spent_in_all[1], spent_in_all[2], spent_in_all[3]);
          begun = 0;
          for (int n = 0; n < 4; n++) spent_in_all[n] = 0;
`ifdef WEIGHT_PORT
          $fwrite(traffic_file, "weights %0d %0d 0 0\n", weights.beats_read, weights.bursts_read);
`endif
`ifdef RESIDUAL_PORT
          $fwrite(traffic_file, "residual %0d %0d %0d %0d\n", residual_ram.beats_read,
                  residual_ram.bursts_read, residual_ram.beats_written,
                  residual_ram.bursts_written);
`endif
`ifdef MAPS_PORT
          $fwrite(traffic_file, "maps %0d %0d %0d %0d\n", maps_ram.beats_read,
                  maps_ram.bursts_read, maps_ram.beats_written, maps_ram.bursts_written);
`endif
        end
      end

      idle <= i_fire || o_fire || spikes_valid != 0 || residual_valid ? 0 : idle + 1;
      if (received >= words) linger <= linger + 1;
      if (linger == linger_end || idle >= watchdog) begin
        $fwrite(outputs_file, "end %0d %0d %0d %0d\n", linger != linger_end, cycle, sent,
                received);
`ifdef WEIGHT_PORT
        $fclose(traffic_file);
`endif
        $fclose(outputs_file);
        $fclose(spikes_file);
        $fclose(residual_file);
        $fclose(layers_file);
        $fclose(activity_file);
        stalled <= linger != linger_end;
        done <= 1;
        if ($test$plusargs("finish")) $finish;
      end
    end
  end
endmodule
