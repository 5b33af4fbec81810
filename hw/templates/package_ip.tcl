# Makes an IP core of {{ name }}.v for Vivado's block designs, in the folder ip beside this script:
#   vivado -mode batch -source package_ip.tcl
set here [file dirname [file normalize [info script]]]
create_project -force {{ name }}_ip [file join $here ip_project] -part {{ part }}
add_files [file join $here {{ name }}.v]
set_property top {{ name }} [current_fileset]
update_compile_order -fileset sources_1
ipx::package_project -root_dir [file join $here ip] -vendor {{ vendor }} -library user \
  -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name {{ name }} $core
set_property version {{ version }} $core
set_property display_name "Spikingformer accelerator" $core
# Vivado infers the buses from the names of their signals; the clock is that of all of them.
foreach bus { {{- buses | join(" ") -}} } {
  ipx::associate_bus_interfaces -busif $bus -clock aclk $core
}
ipx::associate_bus_interfaces -clock aclk -reset aresetn $core
ipx::infer_bus_interface interrupt xilinx.com:signal:interrupt_rtl:1.0 $core
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
