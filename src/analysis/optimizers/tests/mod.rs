mod behaviour;
mod drivers;
mod dual;
mod mgh;
mod nist;
mod problem;
