mod allocation;
mod behaviour;
mod drivers;
mod dual;
mod mgh;
mod nist;
mod nist_data;
mod problem;
