mod drivers;
mod dual;
mod mgh;
mod problem;
